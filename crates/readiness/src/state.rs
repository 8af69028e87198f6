//! The last result, and the task that renews it.
//!
//! ```text
//! at the start, then by `pause` ──┐
//! try_now (page, CLI) ── wanted ──┴─ round: examine ∥ model ── post ─┬─ last (GET /ready, metrics)
//!        ▲                             one at a time                 └─ changes (log, incidents, …)
//!        └───────────── rounds ──────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use breakglass_agent::Agents;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};

use super::check::{Check, State};
use super::{agent, examine, model, sandbox};
use breakglass_cell::NoAgent;
use breakglass_config::Config;

/// How often everything is tried anew.
const PERIOD: Duration = Duration::from_secs(15 * 60);
/// How soon it is where something has just turned red: somebody mends it.
const SOON: Duration = Duration::from_secs(60);
/// The shortest pause between two examinations, whoever asks for them.
const REST: Duration = Duration::from_secs(10);
/// Longest wait of somebody who asked for an examination.
const PATIENCE: Duration = Duration::from_secs(45);

/// The most changes that wait for whoever follows them; who lags loses the oldest.
const MAX_WAITING: usize = 256;

/// A check that stands otherwise than the last time that it was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How it stood. What was never looked at counts as green.
    pub before: State,
    /// What it is now.
    pub check: Check,
}

/// What the last examination found; empty before the first. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Findings {
    config: Arc<Config>,
    found: Arc<Mutex<Found>>,
    changes: broadcast::Sender<Change>,
    wanted: Arc<Notify>,
    rounds: watch::Sender<Rounds>,
}

/// How many examinations have begun, and how many have ended.
#[derive(Debug, Clone, Copy, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
}

#[derive(Debug, Default)]
struct Found {
    examined: Vec<Check>,
    model: Option<model::Answer>,
    /// How each check stood when it was last tried.
    stood: BTreeMap<String, State>,
}

impl Findings {
    /// The state before the first examination.
    pub fn new(config: &Config) -> Findings {
        let found = Found {
            model: model::Answer::kept(config),
            ..Found::default()
        };
        Findings {
            config: Arc::new(config.clone()),
            found: Arc::new(Mutex::new(found)),
            changes: broadcast::Sender::new(MAX_WAITING),
            wanted: Arc::default(),
            rounds: watch::Sender::default(),
        }
    }

    /// What is examined.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The checks of the last time.
    pub fn last(&self) -> Vec<Check> {
        let found = self.found();
        let model = found.model.iter().map(|answer| &answer.check);
        found.examined.iter().chain(model).cloned().collect()
    }

    /// What changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Has everything examined; returns when it is, or after 45 s. There are at least 10 s between
    /// two examinations, so it may begin that much later. One that is under way does not count: it
    /// may have looked before something was mended.
    pub async fn try_now(&self) {
        let mut rounds = self.rounds.subscribe();
        let next = rounds.borrow().begun + 1;
        self.wanted.notify_one();
        let _ = timeout(PATIENCE, rounds.wait_for(|rounds| rounds.ended >= next)).await;
    }

    /// Examines everything once; tells how long to wait for the next time. `wanted` says that
    /// somebody waits for it.
    async fn round(
        &self,
        agents: &Result<Agents, NoAgent>,
        pause: Duration,
        wanted: bool,
    ) -> Duration {
        self.rounds.send_modify(|rounds| rounds.begun += 1);
        let examining = async {
            let (mut checks, sandbox, agent, others) = tokio::join!(
                examine(&self.config),
                sandbox::check(&self.config),
                agent::live(agents, &self.config.agent),
                agent::live_others(agents, &self.config.agents),
            );
            checks.extend(sandbox);
            checks.push(agent);
            checks.extend(others);
            self.post(checks)
        };
        let asking = async {
            let last = self.found().model.clone();
            let answer = model::renew(&self.config, last.clone(), wanted).await;
            let check = answer.iter().map(|answer| answer.check.clone()).collect();
            let news = answer.clone().filter(|_| answer != last);
            self.found().model = answer;
            self.tell(check);
            news
        };
        let (mut changed, answered) = tokio::join!(examining, asking);
        if let (Some(answer), Ok(agents)) = (answered, agents) {
            answer.tell(agents);
            let agent = agent::live(&Ok(agents.clone()), &self.config.agent).await;
            changed |= self.post_one(agent);
        }
        let red = self
            .found()
            .examined
            .iter()
            .any(|check| check.state == State::Red);
        self.rounds.send_modify(|rounds| rounds.ended += 1);
        self::pause(pause, red, changed)
    }

    fn post(&self, checks: Vec<Check>) -> bool {
        self.found().examined.clone_from(&checks);
        self.tell(checks)
    }

    /// One check, looked at again.
    fn post_one(&self, check: Check) -> bool {
        let mut found = self.found();
        let same = found.examined.iter_mut().find(|old| old.name == check.name);
        if let Some(old) = same {
            old.clone_from(&check);
        }
        drop(found);
        self.tell(vec![check])
    }

    /// Tells what stands otherwise than when it was last tried; whether anything does.
    fn tell(&self, checks: Vec<Check>) -> bool {
        let mut changed = false;
        for check in checks.into_iter().filter(|check| !check.untried) {
            let before = self.found().stood.insert(check.name.clone(), check.state);
            let before = before.unwrap_or(State::Green);
            if before != check.state {
                changed = true;
                let change = Change { before, check };
                log(&change);
                // Nobody has to follow.
                let _ = self.changes.send(change);
            }
        }
        changed
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries everything now, then every 15 minutes; sooner while something is red, and where somebody asks
/// for it. Ends when it is dropped.
pub async fn watch(findings: Findings, agents: Result<Agents, NoAgent>) {
    let (mut pause, mut wanted) = (PERIOD, false);
    loop {
        pause = findings.round(&agents, pause, wanted).await;
        sleep(REST).await;
        let waited = timeout(pause.saturating_sub(REST), findings.wanted.notified());
        wanted = waited.await.is_ok();
    }
}

/// The pause after an examination: a minute once something has changed and is red, then twice as
/// long each time, up to the usual one. What is mended is seen soon, and what stays broken is not
/// dialled all night.
fn pause(last: Duration, red: bool, changed: bool) -> Duration {
    match (red, changed) {
        (false, _) => PERIOD,
        (true, true) => SOON,
        (true, false) => last.saturating_mul(2).min(PERIOD),
    }
}

/// One log line.
fn log(change: &Change) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_turned_red_is_tried_after_a_minute_and_then_ever_later() {
        let minutes = |minutes| Duration::from_secs(60_u64 * minutes);
        let mut waited = Vec::new();
        let mut last = pause(PERIOD, true, true);
        for _ in 0..6 {
            waited.push(last);
            last = pause(last, true, false);
        }
        assert_eq!(waited, [1, 2, 4, 8, 15, 15].map(minutes));
        assert_eq!(pause(minutes(8), true, true), minutes(1));
        assert_eq!(pause(minutes(1), false, true), minutes(15));
    }
}
