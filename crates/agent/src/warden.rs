//! What stands between the agent and the world, as this crate sees it: whoever puts the server together
//! brings a [`Warden`]. The agent's crate learns where the agent may knock, and never what is behind.

use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use breakglass_model::{IncidentId, TurnNumber};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::child::Family;
use crate::sandbox::Way;

/// A future that a trait object gives.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens the way to guest and host for each conversation.
pub trait Warden: Send + Sync {
    /// Opens it for `agent` in `incident`, which is about `target`; open for as long as the post is held.
    /// The error is a sentence.
    fn open<'a>(
        &'a self,
        incident: IncidentId,
        target: &'a str,
        agent: &'a str,
    ) -> Task<'a, Result<Box<dyn Post>, String>>;
}

/// The way of one conversation.
pub trait Post: Send + Sync + fmt::Debug {
    /// Variables by which the agent's programs find the way.
    fn environment(&self) -> Vec<(String, String)>;

    /// The agent's process has begun: from now on what belongs to it may use the way, and nothing else. Not
    /// called where a runner started it, which asks that itself and shows [`Post::pass`].
    fn open_to(&self, family: Family);

    /// By what a runner speaks for the processes of the one that it starts; none where no way leads.
    fn pass(&self) -> Option<Pass>;
    /// A connection that was made in the agent's sandbox. Does not wait.
    fn connected(&self, way: Way, stream: OwnedFd);
    /// Returns when the agent asks for its model and is cut off: then its turn can't go on. Cancel-safe.
    fn without_model(&self) -> Task<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// A turn begins: until it ends the way is open.
    fn turn_began(&self, turn: TurnNumber);

    /// Which calls of tools run now. What comes and names one of the turn's calls is put down to that
    /// one, see [`CALL`]; what names none, to the only one that runs, if it is one.
    fn tools_run(&self, calls: &[&str]);

    /// May the agent use a tool in its own cell? To be polled to its end; `withdrawn` says that the
    /// agent no longer asks.
    fn judge(&self, question: ToolQuestion, withdrawn: CancellationToken) -> Task<'static, Ruling>;

    /// The turn is being ended: nothing more is let through. Does not wait.
    fn turn_is_ending(&self);

    /// Returns when nothing of the turn goes on any more and that is recorded. `cut`: it did not end by
    /// itself.
    fn turn_ended(&self, cut: bool) -> Task<'_, ()>;
}

/// The variable that each command of the agent carries, with the call of a tool that it belongs to. What
/// it starts inherits it, so a command that lives on after its call still says whose it is.
pub const CALL: &str = "BREAKGLASS_CALL";

/// The right to speak for the processes of one agent at the sockets of its way: whoever begins a
/// connection there with the line `SECRET enter` is let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// The variable of [`Post::environment`] that holds the directory of the sockets.
    pub variable: String,
    /// Never to be given to the agent.
    pub secret: String,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = &self.variable;
        f.debug_struct("Pass")
            .field("variable", variable)
            .finish_non_exhaustive()
    }
}

/// A tool that the agent wants to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolQuestion {
    /// The CLI's id of the call.
    pub tool_call: String,
    /// The whole command.
    pub command: String,
}

/// The answer to a [`ToolQuestion`].
#[derive(Debug)]
pub struct Ruling {
    /// Whether it may; if not, a sentence for the agent.
    pub leave: Result<(), String>,
    /// Is told when the answer has reached the CLI.
    pub taken: Option<oneshot::Sender<()>>,
}

/// A way that leads nowhere, on which everything is allowed: for measurements and tests of the CLI on
/// its own.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl Warden for Nowhere {
    fn open<'a>(
        &'a self,
        _: IncidentId,
        _: &'a str,
        _: &'a str,
    ) -> Task<'a, Result<Box<dyn Post>, String>> {
        Box::pin(async { Ok(Box::new(Nowhere) as Box<dyn Post>) })
    }
}

impl Post for Nowhere {
    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn open_to(&self, _: Family) {}

    fn pass(&self) -> Option<Pass> {
        None
    }

    fn connected(&self, _: Way, _: OwnedFd) {}

    fn turn_began(&self, _: TurnNumber) {}

    fn tools_run(&self, _: &[&str]) {}

    fn judge(&self, _: ToolQuestion, _: CancellationToken) -> Task<'static, Ruling> {
        let (leave, taken) = (Ok(()), None);
        Box::pin(async { Ruling { leave, taken } })
    }

    fn turn_is_ending(&self) {}

    fn turn_ended(&self, _: bool) -> Task<'_, ()> {
        Box::pin(async {})
    }
}
