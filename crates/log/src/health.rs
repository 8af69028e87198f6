use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use breakglass_model::Actor;
use breakglass_model::Frame;
use breakglass_model::{EventBody, IncidentId, Level};

/// Whether what happens is being recorded, and what was lost while it was not.
#[derive(Debug)]
pub(crate) struct Health {
    /// What everyone may see: `None` is sound.
    state: watch::Sender<Option<String>>,
    /// Why the log is not in its file at all; stays until the next start.
    since_start: Option<String>,
    failure: Mutex<Option<Failure>>,
}

/// A time in which the store could not be written.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) since: String,
    pub(crate) reason: String,
    /// Events per incident that only left by the outlet.
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
        self.lock().as_ref().map(|failure| failure.reason.clone())
    }

    /// Says that a write failed; `true` if it is news.
    pub(crate) fn fail(&self, reason: &str, now: String) -> bool {
        let mut failure = self.lock();
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

    /// What everyone who is attached, or attaches, is shown while the store cannot be written.
    pub(crate) fn warning(&self) -> Option<Frame> {
        let failure = self.lock();
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
            at: since.clone(),
            actor: Actor::System,
            body,
        })
    }

    /// Counts an event that could not be recorded.
    pub(crate) fn lose(&self, incident: IncidentId) {
        if let Some(failure) = self.lock().as_mut() {
            *failure.lost.entry(incident).or_default() += 1;
        }
    }

    /// Says that a write succeeded; gives what ended by that.
    pub(crate) fn restore(&self) -> Option<Failure> {
        let ended = self.lock().take()?;
        self.state.send_replace(self.since_start.clone());
        Some(ended)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
