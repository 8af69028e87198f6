//! Whether events are being recorded: the state, its reports, and the count of events that were lost.
//!
//! The writer sets it; nothing here reads or writes the store.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use breakglass_model::{Actor, EventBody, Frame, IncidentId, Level, Time};

/// Whether events are being recorded, and how many were not.
#[derive(Debug)]
pub(crate) struct Health {
    /// Why events are not being recorded; `None` while they are.
    state: watch::Sender<Option<String>>,
    /// Why the log is kept in memory instead of its file; unchanged until the next start.
    since_start: Option<String>,
    failure: Mutex<Option<Failure>>,
}

/// A period in which the store could not be written.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) since: Time,
    pub(crate) reason: String,
    /// Number of events per incident that were only written to standard error.
    pub(crate) lost: HashMap<IncidentId, u64>,
}

impl Health {
    pub(crate) fn new(since_start: Option<String>) -> Health {
        let state = watch::Sender::new(since_start.clone());
        Health {
            state,
            since_start,
            failure: Mutex::new(None),
        }
    }

    pub(crate) fn sentence(&self) -> Option<String> {
        self.state.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<String>> {
        self.state.subscribe()
    }

    pub(crate) fn since_start(&self) -> Option<&str> {
        self.since_start.as_deref()
    }

    /// Why the store cannot be written now.
    pub(crate) fn failing(&self) -> Option<String> {
        self.failure
            .lock()
            .as_ref()
            .map(|failure| failure.reason.clone())
    }

    /// Notes that a write failed; returns whether the failure is new.
    pub(crate) fn fail(&self, reason: &str, now: Time) -> bool {
        let mut failure = self.failure.lock();
        if failure.is_some() {
            return false;
        }
        *failure = Some(Failure {
            since: now,
            reason: reason.to_owned(),
            lost: HashMap::new(),
        });
        drop(failure);
        self.state.send_replace(Some(format!(
            "events are not being recorded ({reason}); they go to standard error until the store can be written again"
        )));
        true
    }

    /// The warning for every attached reader while the store cannot be written.
    pub(crate) fn warning(&self) -> Option<Frame> {
        let failure = self.failure.lock();
        let Failure { since, reason, .. } = failure.as_ref()?;
        let message = format!(
            "Events are not being recorded: {reason}. Verbs still run; their events go to standard error."
        );
        let body = EventBody::Notice {
            level: Level::Error,
            code: "record_degraded".to_owned(),
            message,
        };
        Some(Frame::Unrecorded {
            at: *since,
            actor: Actor::System,
            body,
        })
    }

    /// Counts an event that could not be recorded.
    pub(crate) fn lose(&self, incident: IncidentId) {
        if let Some(failure) = self.failure.lock().as_mut() {
            *failure.lost.entry(incident).or_default() += 1;
        }
    }

    /// Notes that a write succeeded; returns the failure that ended.
    pub(crate) fn restore(&self) -> Option<Failure> {
        let ended = self.failure.lock().take()?;
        self.state.send_replace(self.since_start.clone());
        Some(ended)
    }
}
