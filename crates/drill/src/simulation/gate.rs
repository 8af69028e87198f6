//! The host's SSH service: `command="breakglass-gate",restrict`, in this process.
//!
//! Every request is one line for the real [`breakglass_gate::serve`]; a shell is the empty line, which
//! the gate refuses. A verb runs on its own thread to its end, also if its client disconnects.

use std::path::PathBuf;
use std::sync::Arc;

use breakglass_gate::{ClientRequest, Context, Limits, NoHostLog, Output, Retention};
use breakglass_verbs::Request;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel::ChannelWriter;
use super::client::Service;
use super::driver::SimulatedDriver;
use crate::machine::Machine;

/// Maximum number of requests served at the same time.
pub(super) const REQUESTS_MAX: usize = 16;
/// Maximum number of lines that wait to be sent.
const LINES_MAX: usize = 256;
/// Maximum length of a request; the longest verb has fewer than twenty bytes.
const REQUEST_MAX_BYTES: usize = 4096;
/// The guest's id on the simulated host.
const GUEST_ID: &str = "102";

/// One client of the gate.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) machine: Machine,
    /// Where the gate keeps its captures.
    pub(super) forensics: PathBuf,
    /// Shared by all clients.
    pub(super) slots: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    /// The client's address.
    pub(super) source: String,
}

enum Line {
    Out(Vec<u8>),
    Err(String),
    Exit(u8),
}

/// Sends the gate's output to the task that forwards it to the client.
struct Lines(mpsc::Sender<Line>);

impl Lines {
    fn send(&self, line: Line) {
        // The receiver reads to the end even if its client is gone, so this never blocks for long.
        let _ = self.0.blocking_send(line);
    }
}

impl Output for Lines {
    fn line(&mut self, text: &str) {
        self.send(Line::Out(format!("{text}\n").into_bytes()));
    }

    fn error(&mut self, text: &str) {
        self.send(Line::Err(format!("{text}\n")));
    }

    fn picture(&mut self, bytes: &[u8]) {
        self.send(Line::Out(bytes.to_vec()));
    }
}

impl Service for Gate {
    const ENDS_ON_SIGNAL: bool = false;

    /// Ignores the end of the session: a verb runs to its own end.
    fn run(&self, command: Option<&[u8]>, output: ChannelWriter, _: CancellationToken) {
        let command = command.unwrap_or_default();
        let command = &command[..command.len().min(REQUEST_MAX_BYTES)];
        let request = String::from_utf8_lossy(command).into_owned();
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            let gate = self.clone();
            let serving = move || {
                let mut lines = Lines(sender);
                let code = gate.serve(&request, &mut lines);
                drop(slot);
                lines.send(Line::Exit(code));
            };
            let thread = std::thread::Builder::new().name("drill-gate".to_owned());
            if let Err(error) = thread.spawn(serving) {
                tracing::warn!(%error, "could not start a thread for the simulated gate");
            }
        } else {
            let message = "refused: the gate serves too many requests; try again\n";
            let _ = sender.try_send(Line::Err(message.to_owned()));
            let _ = sender.try_send(Line::Exit(2));
        }
        self.tasks.spawn(forward(receiver, output));
    }
}

impl Gate {
    /// Serves one request; returns the exit code.
    fn serve(&self, request: &str, lines: &mut Lines) -> u8 {
        let source = &self.source;
        let context = Context {
            guest: GUEST_ID,
            client: ClientRequest {
                source,
                line: request,
            },
            forensics_dir: &self.forensics,
            retention: &Retention::default(),
            host_log: &NoHostLog,
            limits: &Limits::default(),
        };
        match VerbLock::acquire(request, &self.machine) {
            Ok(_lock) => {
                let machine = self.machine.clone();
                breakglass_gate::serve(&context, &mut SimulatedDriver { machine }, lines)
            }
            Err(reason) => {
                let allowed = "status, forensics, vitals, screenshot until it has ended";
                context.refuse(&reason, allowed, lines)
            }
        }
    }
}

/// The real gate's lock: at most one mutating verb runs. A read-only verb needs no lock.
struct VerbLock<'a>(Option<&'a Machine>);

impl VerbLock<'_> {
    fn acquire<'a>(request: &str, machine: &'a Machine) -> Result<VerbLock<'a>, String> {
        let request = Request::parse(request).filter(|request| request.verb.is_mutating());
        let Some(Request { verb, .. }) = request else {
            return Ok(VerbLock(None));
        };
        let clock = machine.clock().clone();
        machine.step(|state, now| {
            if let Some((running, since)) = state.power.running_verb {
                let since = clock.date(since).strftime("%H:%M:%S UTC");
                return Err(format!("{running} runs since {since}"));
            }
            state.power.running_verb = Some((verb.as_str(), now));
            Ok(VerbLock(Some(machine)))
        })
    }
}

impl Drop for VerbLock<'_> {
    fn drop(&mut self) {
        if let Some(machine) = self.0 {
            machine.step(|state, _| state.power.running_verb = None);
        }
    }
}

/// Sends the gate's output as it comes, until the gate exits.
async fn forward(mut lines: mpsc::Receiver<Line>, mut output: ChannelWriter) {
    let mut code = 1;
    while let Some(line) = lines.recv().await {
        match line {
            Line::Out(bytes) => output.out(bytes).await,
            Line::Err(text) => output.err(text).await,
            Line::Exit(exit) => code = exit,
        }
    }
    output.finish(code).await;
}
