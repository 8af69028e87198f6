use breakglass_model::IncidentId;

/// Why the log could not do what was asked. Every message is a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no such incident.
    #[error("incident {incident} is not in the log; list the incidents to see those that are")]
    NotFound {
        /// The one asked for.
        incident: IncidentId,
    },
    /// The incident's log has ended.
    #[error("incident {incident} is closed and takes no more events; open a new one")]
    Closed {
        /// The one written to.
        incident: IncidentId,
    },
    /// What was to be written is too large.
    #[error("{what} has {bytes} bytes, the log takes {limit}; shorten it and write it again")]
    TooLarge {
        /// An event's kind, or `idempotency key`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// The store refused to write; nothing of what was asked is in the log.
    #[error("the incident log cannot be written: {reason}; free space or repair the store")]
    Unwritable {
        /// What the store says.
        reason: String,
    },
    /// The store could not be read.
    #[error("the incident log cannot be read: {reason}; run `breakglass audit verify`")]
    Unreadable {
        /// What the store says.
        reason: String,
    },
    /// The event could not be put into JSON.
    #[error("the event cannot be written as JSON: {reason}")]
    Malformed {
        /// What the encoder says.
        reason: String,
    },
    /// The journal was shut down.
    #[error("the incident log is shut down; start breakglass again")]
    Stopped,
}
