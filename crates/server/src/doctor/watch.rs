//! The last result, and the task that renews it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::check::{Check, State};
use super::examine;
use crate::config::Config;

/// How often everything is tried anew.
const PERIOD: Duration = Duration::from_secs(15 * 60);

/// What the last examination found; empty before the first. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Findings {
    config: Arc<Config>,
    last: Arc<Mutex<Vec<Check>>>,
}

impl Findings {
    pub(crate) fn new(config: &Config) -> Findings {
        Findings {
            config: Arc::new(config.clone()),
            last: Arc::default(),
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

    fn post(&self, checks: Vec<Check>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for check in &checks {
            // What was never looked at counts as well: only news is told.
            let before = last.iter().find(|earlier| earlier.name == check.name);
            tell(before.map_or(State::Green, |earlier| earlier.state), check);
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

/// One log line for each check whose state has changed.
fn tell(before: State, check: &Check) {
    if before == check.state {
        return;
    }
    let (name, evidence) = (&check.name, &check.evidence);
    let (before, now) = (before.as_str(), check.state.as_str());
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
