use breakglass_model::IncidentId;

/// Why an operation of the log failed. Every message is a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The incident does not exist.
    #[error("incident {incident} is not in the log; list the incidents to see those that are")]
    NotFound {
        /// The requested incident.
        incident: IncidentId,
    },
    /// The incident is closed.
    #[error("incident {incident} is closed and takes no more events; open a new one")]
    Closed {
        /// The incident written to.
        incident: IncidentId,
    },
    /// The event or key is too large.
    #[error(
        "{what} has {bytes} bytes and the log takes at most {limit}; shorten it and write it again"
    )]
    TooLarge {
        /// An event's kind, or `idempotency key`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The maximum.
        limit: usize,
    },
    /// The store could not be written; nothing was changed.
    #[error("the incident log cannot be written: {reason}; free space or repair the store")]
    Unwritable {
        /// The store's error.
        reason: String,
    },
    /// The store could not be read.
    #[error("the incident log cannot be read: {reason}; run `breakglass audit verify`")]
    Unreadable {
        /// The store's error.
        reason: String,
    },
    /// The event could not be written as JSON.
    #[error("the event cannot be written as JSON: {reason}")]
    Malformed {
        /// The encoder's error.
        reason: String,
    },
    /// The log was shut down.
    #[error("the incident log is shut down; start breakglass again")]
    Stopped,
}
