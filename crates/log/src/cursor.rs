//! Reads one incident's events as types, in order, a page at a time. For replay as bytes, see `attach`.

use std::fmt;

use crate::{Log, LogError, store};
use breakglass_model::{Event, IncidentId};

/// Reads the events of one incident; see [`Log::read`].
pub struct EventCursor {
    log: Log,
    incident: IncidentId,
    kinds: Option<&'static [&'static str]>,
    page: std::vec::IntoIter<Event>,
    position: u64,
}

impl fmt::Debug for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventCursor")
            .field("incident", &self.incident)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Reads the events of `incident` after the one with the number `after`; `0` reads all of them.
    #[must_use]
    pub fn read(&self, incident: IncidentId, after: u64) -> EventCursor {
        EventCursor {
            log: self.clone(),
            incident,
            kinds: None,
            page: Vec::new().into_iter(),
            position: after,
        }
    }
}

impl EventCursor {
    /// Skips the events of all other kinds.
    #[must_use]
    pub fn only(self, kinds: &'static [&'static str]) -> EventCursor {
        EventCursor {
            kinds: Some(kinds),
            ..self
        }
    }

    /// The next event; `None` at the current end of the log.
    ///
    /// # Errors
    /// [`LogError::NotFound`], [`LogError::Unreadable`].
    pub async fn next(&mut self) -> Result<Option<Event>, LogError> {
        loop {
            if let Some(event) = self.page.next() {
                return Ok(Some(event));
            }
            let number = self.log.number(self.incident)?;
            let (after, kinds) = (self.position, self.kinds);
            let query = move |connection: &_| store::read_page(connection, number, after, kinds);
            let page = self.log.reader().ask(query).await?;
            if page.last == self.position {
                return Ok(None);
            }
            self.position = page.last;
            self.page = page.events.into_iter();
        }
    }

    /// Once [`EventCursor::next`] gave `None`: the number of the last event, of whatever kind.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }
}
