use std::sync::Arc;

use breakglass_log::Log;
use breakglass_model::gateway::AgentGateway;
use breakglass_model::{Actor, TurnNumber};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::PromptError;
use crate::roster::AgentRoster;

/// A command for a conversation.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start the process.
    Warm,
    /// Begin a turn.
    Prompt(PromptRequest),
    /// Stop the running turn. The reply is sent when its end is recorded; false if there was none.
    Stop(Actor, oneshot::Sender<bool>),
}

/// A prompt.
#[derive(Debug)]
pub(crate) struct PromptRequest {
    pub(crate) actor: Actor,
    pub(crate) text: String,
    pub(crate) target: PromptTarget,
    /// None if nothing waits for the reply.
    pub(crate) reply: Option<oneshot::Sender<Result<TurnNumber, PromptError>>>,
}

/// The agent and the model that a prompt is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptTarget {
    /// The agent's name; none for the agent of the incident's last turn, or the first agent.
    pub agent: Option<String>,
    /// The model; none for the agent's usual one.
    pub model: Option<String>,
}

impl PromptRequest {
    pub(super) fn reply(&mut self, result: Result<TurnNumber, PromptError>) {
        match (self.reply.take(), result) {
            (Some(reply), result) => drop(reply.send(result)),
            (None, Err(error)) => {
                tracing::warn!(%error, "the fallback agent could not take over");
            }
            (None, Ok(_)) => {}
        }
    }
}

/// What all conversations share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) roster: AgentRoster,
    pub(crate) log: Log,
    pub(crate) gateway: Arc<dyn AgentGateway>,
    pub(crate) shutdown: CancellationToken,
}

/// Whether a turn is running, and since when that is so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activity {
    pub(crate) busy: bool,
    pub(crate) since: Instant,
}

impl Activity {
    pub(crate) fn now(busy: bool) -> Activity {
        Activity {
            busy,
            since: Instant::now(),
        }
    }
}
