//! The port between the agent and what connects it to guest, host and model.
//!
//! The agent's crate calls it and the bastion's side implements it, so neither of the two names the other. A
//! conversation learns where its agent may connect, never an address or a key behind that.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::event::{IncidentId, TurnNumber};

/// The environment variable that names, in each command of the agent, the tool call which started it. Child
/// processes inherit it, so a command that outlives its call still names it.
pub const CALL_VARIABLE: &str = "BREAKGLASS_CALL";

/// Gives each conversation its access to guest, host and model.
pub trait AgentGateway: Send + Sync {
    /// Opens access for `agent` in `incident`, which concerns `target`. It ends when the handle is dropped.
    /// The error is a sentence for the operator.
    fn open<'a>(
        &'a self,
        incident: IncidentId,
        target: &'a str,
        agent: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn ConversationHandle>, String>>;
}

/// Checks whether the process at the other end of a unix socket belongs to the agent; if not, says which
/// process it is and why it was rejected. Can take some milliseconds.
pub type PeerCheck = Box<dyn Fn(BorrowedFd<'_>) -> Result<(), String> + Send + Sync>;

/// The access of one conversation.
pub trait ConversationHandle: Send + Sync + fmt::Debug {
    /// Environment variables through which the agent's programs find their connections.
    fn environment(&self) -> Vec<(String, String)>;

    /// The agent's process has started: from now on `check` decides which processes may connect. Not called
    /// if a runner started the agent; the runner checks its peers itself and presents
    /// [`ConversationHandle::runner_credential`].
    fn admit(&self, check: PeerCheck);

    /// The credential of a runner that speaks for the processes of its agent; `None` if there is no access.
    fn runner_credential(&self) -> Option<RunnerCredential>;

    /// Takes over a connection that was made in the agent's sandbox. Does not wait.
    fn connected(&self, destination: Destination, stream: OwnedFd);

    /// Returns when the agent connects to its model while it is cut off: its turn can't continue. Cancel-safe.
    fn cut_off_from_model(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// A turn starts: access is open until it ends.
    fn turn_began(&self, turn: TurnNumber);

    /// Sets the tool calls that are running. A command that names one of the turn's calls (see
    /// [`CALL_VARIABLE`]) is attributed to it; a command that names none, to the only running one, if any.
    fn tools_run(&self, calls: &[&str]);

    /// Decides whether the agent may use a tool in its own cell. Poll it to completion; `withdrawn` is
    /// cancelled when the agent no longer waits for the answer.
    fn judge(
        &self,
        question: ToolQuestion,
        withdrawn: CancellationToken,
    ) -> BoxFuture<'static, ToolRuling>;

    /// The turn is ending: nothing more is let through. Does not wait.
    fn turn_is_ending(&self);

    /// Returns when every command of the turn has ended and is recorded. `cut`: the turn was interrupted.
    fn turn_ended(&self, cut: bool) -> BoxFuture<'_, ()>;
}

/// The destination of a connection from inside the agent's sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The guest, through the bastion.
    Guest,
    /// The host's gate, through the bastion.
    Host,
    /// The model's API, through the proxy.
    Model,
}

/// Lets its holder connect for the processes of one agent: a connection whose first line is `SECRET enter`
/// is accepted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerCredential {
    /// The variable of [`ConversationHandle::environment`] that contains the directory of the sockets.
    pub variable: String,
    /// Never give it to the agent.
    pub secret: String,
}

impl fmt::Debug for RunnerCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunnerCredential")
            .field("variable", &self.variable)
            .finish_non_exhaustive()
    }
}

/// A tool that the agent wants to use in its own cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolQuestion {
    /// The CLI's id of the call.
    pub tool_call: String,
    /// The whole command.
    pub command: String,
}

/// The answer to a [`ToolQuestion`].
#[derive(Debug)]
pub struct ToolRuling {
    /// Whether the agent may use the tool; if not, a sentence for the agent.
    pub permission: Result<(), String>,
    /// Receives a message once the answer has reached the CLI, if a person decided.
    pub delivered: Option<oneshot::Sender<()>>,
}

/// A gateway that connects to nothing and allows every tool: for measurements and tests of the CLI alone.
#[derive(Debug, Clone, Copy)]
pub struct NoGateway;

impl AgentGateway for NoGateway {
    fn open<'a>(
        &'a self,
        _: IncidentId,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn ConversationHandle>, String>> {
        Box::pin(async { Ok(Box::new(NoGateway) as Box<dyn ConversationHandle>) })
    }
}

impl ConversationHandle for NoGateway {
    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn admit(&self, _: PeerCheck) {}

    fn runner_credential(&self) -> Option<RunnerCredential> {
        None
    }

    fn connected(&self, _: Destination, _: OwnedFd) {}

    fn turn_began(&self, _: TurnNumber) {}

    fn tools_run(&self, _: &[&str]) {}

    fn judge(&self, _: ToolQuestion, _: CancellationToken) -> BoxFuture<'static, ToolRuling> {
        Box::pin(async {
            ToolRuling {
                permission: Ok(()),
                delivered: None,
            }
        })
    }

    fn turn_is_ending(&self) {}

    fn turn_ended(&self, _: bool) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
