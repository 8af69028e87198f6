//! Walks an incident's log from its first event and says where it departs from its chain: the
//! same for the store and for an exported file.

use serde::Serialize;

use crate::chain::{self, Hash};
use breakglass_model::{Event, EventBody, IncidentId};

/// Where a log departs from its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The first `seq` that does not hold.
    pub seq: u64,
    /// What is wrong with it.
    pub message: String,
}

/// What is said of a log before it is looked at, and how far it held.
pub(crate) struct Walk {
    /// What says it: the incident's `row`, an export's `header`.
    said_by: &'static str,
    incident: IncidentId,
    target: String,
    drill: bool,
    pub(crate) hash: Hash,
    pub(crate) events: u64,
}

impl Walk {
    pub(crate) fn new(
        said_by: &'static str,
        incident: IncidentId,
        target: &str,
        drill: bool,
    ) -> Walk {
        Walk {
            said_by,
            incident,
            target: target.to_owned(),
            drill,
            hash: chain::genesis(incident),
            events: 0,
        }
    }

    pub(crate) const fn incident(&self) -> IncidentId {
        self.incident
    }

    /// Takes the next event; `whole` is its JSON with the hash, `canonical` the one without.
    pub(crate) fn take(
        &mut self,
        canonical: &[u8],
        hash: &[u8],
        whole: &[u8],
    ) -> Result<Event, Fault> {
        let seq = self.events + 1;
        let checked = self.check(seq, canonical, hash, whole);
        let (event, link) = checked.map_err(|message| Fault { seq, message })?;
        (self.hash, self.events) = (link, seq);
        Ok(event)
    }

    fn check(
        &self,
        seq: u64,
        canonical: &[u8],
        hash: &[u8],
        whole: &[u8],
    ) -> Result<(Event, Hash), String> {
        let link = chain::link(&self.hash, canonical);
        if link != hash {
            return Err(format!(
                "event {seq} is not what was recorded: its hash does not follow from its content and the event before it"
            ));
        }
        let event: Event = serde_json::from_slice(whole)
            .map_err(|error| format!("event {seq} is no event: {error}"))?;
        if event.seq != seq {
            return Err(format!("event {seq} says that it is event {}", event.seq));
        }
        self.check_first(&event.body, seq)?;
        Ok((event, link))
    }

    fn check_first(&self, body: &EventBody, seq: u64) -> Result<(), String> {
        match body {
            EventBody::IncidentOpened { target, drill }
                if *target == self.target && *drill == self.drill =>
            {
                Ok(())
            }
            EventBody::IncidentOpened { .. } => Err(format!(
                "the incident's {} names another target than its first event",
                self.said_by
            )),
            _ if seq == 1 => Err("the log does not begin with incident_opened".to_owned()),
            _ => Ok(()),
        }
    }

    /// Whether the log ends where it is said to.
    pub(crate) fn end(&self, head: u64, head_hash: &[u8]) -> Option<Fault> {
        let (events, said_by) = (self.events, self.said_by);
        let (seq, message) = if events < head {
            let message =
                format!("the log was cut: it ends at {events} and its {said_by} says {head}");
            (events + 1, message)
        } else if events > head {
            let message = format!("the log goes on to {events} and its {said_by} says {head}");
            (head + 1, message)
        } else if head_hash != self.hash {
            let message = format!("the {said_by}'s hash is not that of the newest event");
            (events, message)
        } else {
            return None;
        };
        Some(Fault { seq, message })
    }
}
