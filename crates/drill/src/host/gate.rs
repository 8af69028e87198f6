//! The host's SSH server: `command="breakglass-gate",restrict`, run in this process.
//!
//! Whatever is asked for becomes one line for the real [`breakglass_gate::serve`]; a shell is the
//! empty line, which it refuses. A verb runs on a thread of its own and to its end, also when the
//! connection that asked for it is gone.

use std::path::PathBuf;
use std::sync::Arc;

use breakglass_gate::{ClientRequest, Context, Limits, NoHostLog, Output, Retention};
use breakglass_verbs::Request;
use russh::ChannelId;
use russh::server::Session;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Service;
use super::connection::Sender;
use super::driver::SimulatedDriver;
use crate::machine::Machine;

/// Requests served at the same time.
pub(super) const MAX_REQUESTS: usize = 16;
/// Lines that wait for the client.
const QUEUE: usize = 256;
/// Bytes of a request that are looked at; the longest verb has fewer than twenty.
const MAX_LINE: usize = 4096;
/// The guest's id, as in the policy file of the first deployment.
const GUEST: &str = "102";

/// What all clients of the gate share.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) machine: Machine,
    pub(super) forensics: PathBuf,
    pub(super) slots: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
}

/// One client of the gate.
pub(super) struct Gate {
    pub(super) desk: Desk,
    pub(super) source: String,
}

enum Line {
    Out(Vec<u8>),
    Err(String),
    Exit(u8),
}

struct Lines(mpsc::Sender<Line>);

impl Output for Lines {
    fn line(&mut self, text: &str) {
        // The receiver drains to the end even when its client is gone: this never blocks for long.
        let _ = self
            .0
            .blocking_send(Line::Out(format!("{text}\n").into_bytes()));
    }

    fn error(&mut self, text: &str) {
        let _ = self.0.blocking_send(Line::Err(format!("{text}\n")));
    }

    fn picture(&mut self, bytes: &[u8]) {
        let _ = self.0.blocking_send(Line::Out(bytes.to_vec()));
    }
}

impl Gate {
    fn serve(&self, id: ChannelId, line: &[u8], session: &Session) {
        let line = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]).into_owned();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let client = Sender::new(session.handle(), id);
        match self.desk.slots.clone().try_acquire_owned() {
            Ok(slot) => {
                let (desk, source) = (self.desk.clone(), self.source.clone());
                let body = move || work(&line, &source, &desk, sender, slot);
                if let Err(error) = std::thread::Builder::new()
                    .name("drill-gate".to_owned())
                    .spawn(body)
                {
                    tracing::warn!(%error, "the simulated gate found no thread");
                }
            }
            Err(_) => {
                let _ = sender.try_send(Line::Err(
                    "refused: the gate serves too many requests; try again\n".to_owned(),
                ));
                let _ = sender.try_send(Line::Exit(2));
            }
        }
        self.desk.tasks.spawn(forward(receiver, client));
    }
}

fn work(
    line: &str,
    source: &str,
    desk: &Desk,
    sender: mpsc::Sender<Line>,
    slot: OwnedSemaphorePermit,
) {
    let context = Context {
        guest: GUEST,
        client: ClientRequest { source, line },
        forensics_dir: &desk.forensics,
        retention: &Retention::default(),
        host_log: &NoHostLog,
        limits: &Limits::default(),
    };
    let mut lines = Lines(sender);
    let exit = match Claim::of(line, &desk.machine) {
        Ok(_claim) => {
            let machine = desk.machine.clone();
            breakglass_gate::serve(&context, &mut SimulatedDriver { machine }, &mut lines)
        }
        Err(why) => {
            let allowed = "status, forensics, vitals, screenshot until it has ended";
            context.refuse(&why, allowed, &mut lines)
        }
    };
    drop(slot);
    let _ = lines.0.blocking_send(Line::Exit(exit));
}

/// The machine, held for one mutating verb; the real gate's lock.
struct Claim<'a>(Option<&'a Machine>);

impl Claim<'_> {
    fn of<'a>(line: &str, machine: &'a Machine) -> Result<Claim<'a>, String> {
        let request = Request::parse(line).filter(|request| request.verb.is_mutating());
        let Some(Request { verb, .. }) = request else {
            return Ok(Claim(None));
        };
        let clock = machine.clock().clone();
        machine.step(|state, now| match state.power.holder {
            Some((running, since)) => Err(format!(
                "{running} has been running since {}",
                clock.date(since).strftime("%H:%M:%S UTC")
            )),
            None => {
                state.power.holder = Some((verb.as_str(), now));
                Ok(Claim(Some(machine)))
            }
        })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(machine) = self.0 {
            machine.step(|state, _| state.power.holder = None);
        }
    }
}

/// Sends what the gate says as it says it; ends with the gate, not with the client.
async fn forward(mut lines: mpsc::Receiver<Line>, mut client: Sender) {
    let mut exit = 1;
    while let Some(line) = lines.recv().await {
        match line {
            Line::Out(text) => client.out(text).await,
            Line::Err(text) => client.err(text).await,
            Line::Exit(code) => exit = code,
        }
    }
    client.finish(exit).await;
}

impl Service for Gate {
    /// The session's end is none of the verb's: it runs to its own.
    fn exec(&self, id: ChannelId, command: &[u8], _: CancellationToken, session: &Session) {
        self.serve(id, command, session);
    }

    fn shell(&self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.serve(id, b"", session);
        Ok(())
    }
}
