//! The last result, and the task that renews it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use super::check::{Check, State};
use super::examine;
use crate::config::Config;

/// How often everything is tried anew.
const PERIOD: Duration = Duration::from_secs(15 * 60);

/// The most changes that wait for whoever follows them; who lags loses the oldest.
const MAX_WAITING: usize = 256;

/// A check that stands otherwise than the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// How it stood. What was never looked at counts as green.
    pub(crate) before: State,
    /// What it is now.
    pub(crate) check: Check,
}

/// What the last examination found; empty before the first. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Findings {
    config: Arc<Config>,
    last: Arc<Mutex<Vec<Check>>>,
    changes: broadcast::Sender<Change>,
}

impl Findings {
    pub(crate) fn new(config: &Config) -> Findings {
        Findings {
            config: Arc::new(config.clone()),
            last: Arc::default(),
            changes: broadcast::Sender::new(MAX_WAITING),
        }
    }

    /// What is examined.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The checks of the last time.
    pub(crate) fn last(&self) -> Vec<Check> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What changes from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn post(&self, checks: Vec<Check>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for check in &checks {
            let earlier = last.iter().find(|earlier| earlier.name == check.name);
            let before = earlier.map_or(State::Green, |earlier| earlier.state);
            if before != check.state {
                let check = check.clone();
                let change = Change { before, check };
                tell(&change);
                // Nobody has to follow.
                let _ = self.changes.send(change);
            }
        }
        *last = checks;
    }
}

/// Tries everything now and every 15 minutes; ends when it is dropped.
pub(crate) async fn watch(findings: Findings) {
    loop {
        let checks = examine(findings.config()).await;
        findings.post(checks);
        tokio::time::sleep(PERIOD).await;
    }
}

/// One log line.
fn tell(change: &Change) {
    let check = &change.check;
    let (name, evidence) = (&check.name, &check.evidence);
    let (before, now) = (change.before.as_str(), check.state.as_str());
    let remedy = check.remedy.as_deref().unwrap_or_default();
    match check.state {
        State::Green => tracing::info!(check = name, before, now, evidence, "a check holds again"),
        State::Amber => {
            tracing::warn!(
                check = name,
                before,
                now,
                evidence,
                remedy,
                "a check is amber"
            );
        }
        State::Red => {
            tracing::error!(
                check = name,
                before,
                now,
                evidence,
                remedy,
                "a check is red"
            );
        }
    }
}
