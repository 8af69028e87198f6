//! For a reader of the whole log, not of one incident: it is woken, asks where logs have grown, and
//! reads on from where it was.

use tokio::sync::{broadcast, watch};

use crate::store;
use crate::{IncidentSummary, Log, LogError};
use breakglass_model::{Actor, Event, EventBody, IncidentId};

/// An event that could not be recorded: it happened, and the log does not hold it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unrecorded {
    /// Where it belongs; a verb's own name where no incident could be found for it.
    pub incident: IncidentId,
    /// RFC 3339, milliseconds.
    pub at: String,
    /// Who.
    pub actor: Actor,
    /// What.
    pub body: EventBody,
}

/// A piece of an incident's log, of which only some kinds of events were wanted.
#[derive(Debug)]
pub struct Selection {
    /// Those of the wanted kinds, in order.
    pub events: Vec<Event>,
    /// The last `seq` that was looked at, wanted or not; what was asked from, where there was none.
    pub last: u64,
}

impl Log {
    /// Moves whenever something was appended to any incident; the number has no meaning.
    #[must_use]
    pub fn watch_appended(&self) -> watch::Receiver<u64> {
        self.shared().appended.subscribe()
    }

    /// What can't be recorded from now on. Who lags by more than 256 loses the oldest.
    #[must_use]
    pub fn watch_unrecorded(&self) -> broadcast::Receiver<Unrecorded> {
        self.shared().unrecorded.subscribe()
    }

    /// The incidents whose newest event is not older than `at` (RFC 3339, UTC, milliseconds), oldest
    /// first; of more than 10,000 the newest.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn incidents_active_since(&self, at: &str) -> Result<Vec<IncidentSummary>, LogError> {
        let at = at.to_owned();
        let question = move |connection: &_| store::active_since(connection, &at);
        self.reader().ask(question).await
    }

    /// Looks at no more than 4,096 events after `after`, and gives those of these kinds.
    ///
    /// # Errors
    /// [`LogError::NotFound`], [`LogError::Unreadable`].
    pub async fn select(
        &self,
        incident: IncidentId,
        after: u64,
        kinds: &'static [&'static str],
    ) -> Result<Selection, LogError> {
        let number = self.number(incident)?;
        let question = move |connection: &_| store::select(connection, number, after, kinds);
        self.reader().ask(question).await
    }
}
