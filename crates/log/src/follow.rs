//! For a reader of all incidents: it is woken, lists the incidents that have grown, and continues to read each with
//! [`Log::read`].

use tokio::sync::{broadcast, watch};

use crate::store;
use crate::{IncidentSummary, Log, LogError};
use breakglass_model::{Actor, EventBody, IncidentId, Time};

/// An event that happened and could not be recorded, so it is not in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Unrecorded {
    /// Its incident; if none could be found for a verb, the verb's operation.
    pub incident: IncidentId,
    /// When it happened.
    pub at: Time,
    /// Who did it.
    pub actor: Actor,
    /// What happened.
    pub body: EventBody,
}

impl Log {
    /// Changes whenever an event was appended to any incident; the number has no meaning.
    #[must_use]
    pub fn watch_appended(&self) -> watch::Receiver<u64> {
        self.shared().appended.subscribe()
    }

    /// The events that cannot be recorded from now on. A receiver that lags by more than 256 loses the oldest.
    #[must_use]
    pub fn watch_unrecorded(&self) -> broadcast::Receiver<Unrecorded> {
        self.shared().unrecorded.subscribe()
    }

    /// The incidents whose newest event is not older than `at` (RFC 3339, UTC, milliseconds), oldest
    /// first; of more than 10,000 the newest.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn incidents_active_since(&self, at: Time) -> Result<Vec<IncidentSummary>, LogError> {
        let query = move |connection: &_| store::active_since(connection, at);
        self.reader().ask(query).await
    }
}
