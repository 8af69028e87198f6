use breakglass_model::OperationId;
use breakglass_verbs::Verb;

/// Why an operation was not started. Nothing has reached guest or host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such target is configured.
    #[error("there is no target {target:?}; the targets are: {known}")]
    UnknownTarget {
        /// The requested name.
        target: String,
        /// All names, comma-separated.
        known: String,
    },
    /// The agent asked for a permit. It gets its permits from the bastion, which rules on each action.
    #[error("the agent's operations must go through the bastion")]
    BypassesBastion,
    /// A mutating verb is running on the target: attach to it instead.
    #[error(
        "{verb} has been running on {target} since {since}; wait for it or watch operation {operation}"
    )]
    Busy {
        /// The running operation.
        operation: OperationId,
        /// Its verb.
        verb: Verb,
        /// The target.
        target: String,
        /// RFC 3339.
        since: String,
    },
    /// The idempotency key was used for another request.
    #[error(
        "this idempotency key was used for {what} on {target} (operation {operation}); use a new key for a new request"
    )]
    KeyReused {
        /// The operation that the key started.
        operation: OperationId,
        /// Its verb or diagnosis.
        what: String,
        /// Its target.
        target: String,
    },
    /// Too many read-only operations are running on the target.
    #[error("{running} operations are running on {target} already; wait for one of them to end")]
    TooMany {
        /// The target.
        target: String,
        /// The number of running operations.
        running: usize,
    },
    /// The server is shutting down.
    #[error(
        "the server is shutting down and starts nothing new; try again after its restart, or use --direct"
    )]
    ShuttingDown,
}
