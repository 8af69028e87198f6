//! The readiness state: the current results of all checks, the task that renews them, and the stream of changes.
//!
//! ```text
//! at the start, then every `pause` ────┐
//! try_now (page, CLI) ── requested ────┴─ run: checks ∥ model ── store ─┬─ current (GET /ready, metrics)
//!        ▲                                  one at a time               └─ changes (incident log, notifications)
//!        └─────────────── progress ─────────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use breakglass_agent::Agents;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};

use super::check::{Check, State};
use super::model::ModelAnswer;
use super::{agent, examine, model, sandbox};
use breakglass_cell::NoAgent;
use breakglass_config::Config;

/// Interval between runs of all checks.
const RUN_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Interval after a check has just turned red, because it is probably being fixed.
const RED_INTERVAL: Duration = Duration::from_secs(60);
/// Minimum pause between two runs, including requested ones.
const MIN_PAUSE: Duration = Duration::from_secs(10);
/// Maximum wait for a requested run.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);

/// Maximum number of changes buffered for a subscriber; a slower one loses the oldest.
const BUFFERED_CHANGES_MAX: usize = 256;

/// A check whose state differs from its last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its last state; green if it was never tried.
    pub before: State,
    /// The check with its new state.
    pub check: Check,
}

/// The current results of all checks; empty before the first run. Clones share one state.
#[derive(Debug, Clone)]
pub struct ReadinessState {
    config: Arc<Config>,
    results: Arc<Mutex<Results>>,
    changes: broadcast::Sender<Change>,
    requested: Arc<Notify>,
    progress: watch::Sender<RunCount>,
}

/// The number of runs that have started, and that have ended.
#[derive(Debug, Clone, Copy, Default)]
struct RunCount {
    started: u64,
    ended: u64,
}

#[derive(Debug, Default)]
struct Results {
    checks: Vec<Check>,
    model: Option<ModelAnswer>,
    /// The state of each check when it was last tried.
    last_states: BTreeMap<String, State>,
}

impl ReadinessState {
    /// The state before the first run.
    pub fn new(config: &Config) -> ReadinessState {
        let results = Results {
            model: ModelAnswer::load(config),
            ..Results::default()
        };
        ReadinessState {
            config: Arc::new(config.clone()),
            results: Arc::new(Mutex::new(results)),
            changes: broadcast::Sender::new(BUFFERED_CHANGES_MAX),
            requested: Arc::default(),
            progress: watch::Sender::default(),
        }
    }

    /// The configuration that is checked.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The current results of all checks.
    pub fn current(&self) -> Vec<Check> {
        let results = self.results();
        let model = results.model.iter().map(|answer| &answer.check);
        results.checks.iter().chain(model).cloned().collect()
    }

    /// Subscribes to all changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Requests a run of all checks and waits for its end, at most 45 s. The run starts at least 10 s after the last
    /// one. A run that has already started does not count: its checks may be older than the last fix.
    pub async fn try_now(&self) {
        let mut progress = self.progress.subscribe();
        let next = progress.borrow().started + 1;
        self.requested.notify_one();
        let ended = progress.wait_for(|runs| runs.ended >= next);
        let _ = timeout(REQUEST_TIMEOUT, ended).await;
    }

    /// Runs all checks once. Returns the pause until the next run. `requested`: an operator waits for the result.
    async fn run(
        &self,
        agents: &Result<Agents, NoAgent>,
        pause: Duration,
        requested: bool,
    ) -> Duration {
        self.progress.send_modify(|runs| runs.started += 1);
        let running_checks = async {
            let (mut checks, sandbox, agent, others) = tokio::join!(
                examine(&self.config),
                sandbox::check(&self.config),
                agent::live(agents, &self.config.agent),
                agent::live_others(agents, &self.config.agents),
            );
            checks.extend(sandbox);
            checks.push(agent);
            checks.extend(others);
            self.store(checks)
        };
        let asking_model = async {
            let last = self.results().model.clone();
            let answer = model::renew(&self.config, last.clone(), requested).await;
            let check = answer.iter().map(|answer| answer.check.clone()).collect();
            let new_answer = answer.clone().filter(|_| answer != last);
            self.results().model = answer;
            self.publish(check);
            new_answer
        };
        let (mut changed, answered) = tokio::join!(running_checks, asking_model);
        if let (Some(answer), Ok(agents)) = (answered, agents) {
            answer.report_login(agents);
            let agent = agent::live(&Ok(agents.clone()), &self.config.agent).await;
            changed |= self.store_one(agent);
        }
        let is_red = |check: &Check| check.state == State::Red;
        let red = self.results().checks.iter().any(is_red);
        self.progress.send_modify(|runs| runs.ended += 1);
        self::pause(pause, red, changed)
    }

    fn store(&self, checks: Vec<Check>) -> bool {
        self.results().checks.clone_from(&checks);
        self.publish(checks)
    }

    /// Replaces the result of one check.
    fn store_one(&self, check: Check) -> bool {
        let mut results = self.results();
        let same = results.checks.iter_mut().find(|old| old.name == check.name);
        if let Some(old) = same {
            old.clone_from(&check);
        }
        drop(results);
        self.publish(vec![check])
    }

    /// Publishes the checks whose state changed. Returns whether there are any.
    fn publish(&self, checks: Vec<Check>) -> bool {
        let mut changed = false;
        for check in checks.into_iter().filter(|check| !check.untried) {
            let before = self
                .results()
                .last_states
                .insert(check.name.clone(), check.state);
            let before = before.unwrap_or(State::Green);
            if before != check.state {
                changed = true;
                let change = Change { before, check };
                log(&change);
                // There may be no subscriber.
                let _ = self.changes.send(change);
            }
        }
        changed
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs all checks now, then every 15 minutes; more often while a check is red, and on request. Runs until it is
/// dropped.
pub async fn watch(readiness: ReadinessState, agents: Result<Agents, NoAgent>) {
    let mut pause = RUN_INTERVAL;
    let mut requested = false;
    loop {
        pause = readiness.run(&agents, pause, requested).await;
        sleep(MIN_PAUSE).await;
        let request = readiness.requested.notified();
        requested = timeout(pause.saturating_sub(MIN_PAUSE), request)
            .await
            .is_ok();
    }
}

/// The pause after a run: a minute if a check changed and one is red, then twice as long each time, up to the usual
/// interval. So a fix is noticed soon, and a broken machine is not dialled all night.
fn pause(last: Duration, red: bool, changed: bool) -> Duration {
    match (red, changed) {
        (false, _) => RUN_INTERVAL,
        (true, true) => RED_INTERVAL,
        (true, false) => last.saturating_mul(2).min(RUN_INTERVAL),
    }
}

/// One log line.
fn log(change: &Change) {
    let check = &change.check;
    let (name, evidence) = (&check.name, &check.evidence);
    let (before, now) = (change.before.as_str(), check.state.as_str());
    let remedy = check.remedy.as_deref().unwrap_or_default();
    match check.state {
        State::Green => tracing::info!(
            check = name,
            before,
            now,
            evidence,
            "a check is green again"
        ),
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
    fn red_check_is_retried_after_a_minute_and_then_less_often() {
        let minutes = |minutes| Duration::from_secs(60_u64 * minutes);
        let mut waited = Vec::new();
        let mut last = pause(RUN_INTERVAL, true, true);
        for _ in 0..6 {
            waited.push(last);
            last = pause(last, true, false);
        }
        assert_eq!(waited, [1, 2, 4, 8, 15, 15].map(minutes));
        assert_eq!(pause(minutes(8), true, true), minutes(1));
        assert_eq!(pause(minutes(1), false, true), minutes(15));
    }
}
