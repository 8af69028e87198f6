//! Checks an incident's log against its hash chain, event by event: the same for the store and for an export.

use serde::Serialize;

use crate::chain::{self, Hash};
use breakglass_model::{Event, EventBody, IncidentId};

/// The first event at which a log does not match its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The number of the event.
    pub seq: u64,
    /// What is wrong.
    pub message: String,
}

/// The state of a check: what the log claims to be, and how far it was correct.
pub(crate) struct ChainCheck {
    /// What makes the claim: the incident's `row` or an export's `header`.
    source: &'static str,
    incident: IncidentId,
    target: String,
    drill: bool,
    pub(crate) hash: Hash,
    pub(crate) events: u64,
}

impl ChainCheck {
    pub(crate) fn new(
        source: &'static str,
        incident: IncidentId,
        target: &str,
        drill: bool,
    ) -> ChainCheck {
        ChainCheck {
            source,
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

    /// Checks the next event; `whole` is its JSON with the hash, `canonical` the one without.
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
        let event = crate::canonical::decode(whole)?;
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
                self.source
            )),
            _ if seq == 1 => Err("the log does not begin with incident_opened".to_owned()),
            _ => Ok(()),
        }
    }

    /// Checks that the log ends where its source claims.
    pub(crate) fn end(&self, head: u64, head_hash: &[u8]) -> Option<Fault> {
        let (events, source) = (self.events, self.source);
        let (seq, message) = if events < head {
            let message =
                format!("the log was cut: it ends at {events} and its {source} says {head}");
            (events + 1, message)
        } else if events > head {
            let message = format!("the log goes on to {events} and its {source} says {head}");
            (head + 1, message)
        } else if head_hash != self.hash {
            let message = format!("the {source}'s hash is not that of the newest event");
            (events, message)
        } else {
            return None;
        };
        Some(Fault { seq, message })
    }
}
