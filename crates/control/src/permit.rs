use std::sync::Arc;

use breakglass_model::{Actor, OperationId};
use breakglass_verbs::Verb;

use crate::control::Station;

/// Leave for one actor to run one verb on one target.
///
/// Only [`Control::permit`](crate::Control::permit) and [`AgentTarget::submit`](crate::AgentTarget::submit) make one, so nothing downstream can act on
/// a target without having been let in.
#[derive(Debug)]
pub struct Permit {
    pub(crate) actor: Actor,
    pub(crate) station: Arc<Station>,
    pub(crate) verb: Verb,
}

impl Permit {
    /// Who may.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What may be done.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        self.verb
    }

    /// The target's name.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.station.target.name
    }
}

/// Why something was not begun. Nothing has reached guest or host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such target is configured.
    #[error("there is no target {target:?}; there are: {known}")]
    UnknownTarget {
        /// The name that was asked for.
        target: String,
        /// All names, comma-separated.
        known: String,
    },
    /// The agent gets its permits from the bastion, which rules on each wish.
    #[error("the agent's verbs go through the bastion, and this one did not")]
    PastTheBastion,
    /// A mutating verb runs on the target: attach to it instead.
    #[error(
        "{verb} has been running on {target} since {since}; wait for it or watch operation {operation}"
    )]
    Busy {
        /// What runs.
        operation: OperationId,
        /// Its verb.
        verb: Verb,
        /// The target.
        target: String,
        /// RFC 3339.
        since: String,
    },
    /// The idempotency key stands for another request.
    #[error(
        "this idempotency key was used for {what} on {target} (operation {operation}); use a new key for a new request"
    )]
    KeyReused {
        /// What the key stands for.
        operation: OperationId,
        /// The verb or check of that operation.
        what: String,
        /// The target of that operation.
        target: String,
    },
    /// Too many read-only operations run on the target.
    #[error("{running} operations are running on {target} already; wait for one of them to end")]
    TooMany {
        /// The target.
        target: String,
        /// How many run.
        running: usize,
    },
    /// The server is about to end.
    #[error(
        "the server is shutting down and begins nothing new; try again when it is back, or use --direct"
    )]
    ShuttingDown,
}
