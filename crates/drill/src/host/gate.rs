//! The host's SSH server: `command="breakglass-gate",restrict`, run in this process.
//!
//! Whatever is asked for becomes one line for the real [`breakglass_gate::serve`]; a shell is the
//! empty line, which it refuses. A verb runs on a thread of its own and to its end, also when the
//! connection that asked for it is gone.

use std::path::PathBuf;
use std::sync::Arc;

use breakglass_gate::{Context, Limits, Output, Silent};
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
    Out(String),
    Err(String),
    Exit(u8),
}

struct Lines(mpsc::Sender<Line>);

impl Output for Lines {
    fn line(&mut self, text: &str) {
        // The receiver drains to the end even when its client is gone: this never blocks for long.
        let _ = self.0.blocking_send(Line::Out(format!("{text}\n")));
    }

    fn error(&mut self, text: &str) {
        let _ = self.0.blocking_send(Line::Err(format!("{text}\n")));
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
        source,
        forensics_dir: &desk.forensics,
        journal: &Silent,
        limits: Limits::default(),
    };
    let mut lines = Lines(sender);
    let mut driver = SimulatedDriver::new(desk.machine.clone());
    let exit = breakglass_gate::serve(line, &context, &mut driver, &mut lines);
    drop((driver, slot));
    let _ = lines.0.blocking_send(Line::Exit(exit));
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
