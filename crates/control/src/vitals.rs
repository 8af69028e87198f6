//! Two watchers per target: does the guest answer on SSH, and what does the gate say of its
//! machine. Each is one task, so no sample runs beside another of its kind.
//!
//! ```text
//!   every tick: due? (sooner while an incident is open) ── sample ── board ─┬─ readers
//!                                                                           └─ finding, once
//! ```

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use breakglass_journal::{
    Actor, EventBody, Frame, IncidentId, Level, OutputStream, VerbOutcome, Vital, VitalState,
    Vitals, clock,
};
use breakglass_verbs::{Verb, Verdict};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::control::{Inner, Station};
use crate::findings;
use crate::machine::{self, Counter, Look};
use crate::power::conduct::{Conclusion, conduct};
use crate::power::runner::host_key_changed;
use crate::ssh::SshError;
use crate::ssh::exec::{Exit, Order};
use crate::ssh::pool::Urgency;

/// How often a watcher asks itself whether a sample is due.
const TICK: Duration = Duration::from_secs(3);
/// Longest wait for the guest's answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// An answer that takes longer is missed at once, though it is still waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Longest wait for the log.
const LOG_LIMIT: Duration = Duration::from_secs(1);

/// What stands for a sign before it was looked at.
pub(crate) const NOT_YET: &str = "not looked at yet";

/// The latest vital signs of one target, and the conclusions already told.
#[derive(Debug)]
pub(crate) struct Board(Mutex<Posted>);

#[derive(Debug)]
struct Posted {
    vitals: Vitals,
    /// What the guest had written in all when it was last known.
    written: Option<Written>,
    /// The gate knows `status` only: an older one.
    gate_is_old: bool,
    /// The conclusion that was told last, and in which incident.
    told: Option<(IncidentId, &'static str)>,
    /// For guest and host, the changed key that was told last, and in which incident.
    keys_told: [Option<(IncidentId, EventBody)>; 2],
}

impl Board {
    pub(crate) fn new(target: &str) -> Board {
        let now = clock::now();
        let unseen = Vital {
            state: VitalState::Unknown,
            text: NOT_YET.to_owned(),
            since: now.clone(),
            seen: now,
        };
        let vitals = Vitals {
            target: target.to_owned(),
            ssh: unseen.clone(),
            vm: unseen,
            machine: None,
            finding: None,
        };
        Board(Mutex::new(Posted {
            vitals,
            written: None,
            gate_is_old: false,
            told: None,
            keys_told: [None, None],
        }))
    }

    pub(crate) fn read(&self) -> Vitals {
        self.lock().vitals.clone()
    }

    /// Unless the gate is known to have no more than `status`.
    pub(crate) fn gate_is_new(&self) -> bool {
        !self.lock().gate_is_old
    }

    /// The guest has not answered yet, and may still.
    fn miss_guest(&self) {
        let mut posted = self.lock();
        posted.vitals.ssh = still_waiting(&posted.vitals.ssh, Timestamp::now());
    }

    /// Puts up what the signs say together, and gives what has to be told in `incident` and has
    /// not been.
    fn conclude(
        &self,
        incident: Option<IncidentId>,
        since_change: Option<Duration>,
    ) -> Option<EventBody> {
        let mut posted = self.lock();
        let finding = findings::of_vitals(&posted.vitals, since_change, Timestamp::now());
        posted.vitals.finding = finding.clone().map(findings::Finding::of_signs);
        let told = incident.zip(finding.as_ref().map(|finding| finding.signature));
        let news = posted.told != told;
        posted.told = told;
        finding
            .filter(|_| news && told.is_some())
            .map(|finding| finding.body(None))
    }

    /// What has to be told in `incident` of the key that guest or host showed, once for each key.
    fn judge_key(
        &self,
        watcher: Watcher,
        incident: Option<IncidentId>,
        error: Option<&SshError>,
    ) -> Vec<EventBody> {
        let mut posted = self.lock();
        let told = &mut posted.keys_told[watcher as usize];
        let changed = error.and_then(|error| Some((host_key_changed(error)?, error.to_string())));
        let (Some(incident), Some((body, message))) = (incident, changed) else {
            // What is silent shows no key: only an answer says that all is well again.
            told.take_if(|_| error.is_none());
            return Vec::new();
        };
        let now = Some((incident, body.clone()));
        if *told == now {
            return Vec::new();
        }
        *told = now;
        let notice = EventBody::Notice {
            level: Level::Error,
            code: "host_key_changed".to_owned(),
            message: format!("{message}. Until then no verb or check reaches it."),
        };
        vec![body, notice]
    }

    fn lock(&self) -> MutexGuard<'_, Posted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the guest had written in all, and what was seen while that stayed so.
#[derive(Debug)]
struct Written {
    counter: Counter,
    since: Timestamp,
    /// Processor time of all later looks that told it, in percent, and how many those are. One look
    /// lasts a second, and may fall on a login.
    cpu: (u64, u64),
}

impl Written {
    /// The average, with one more look.
    fn cpu_with(&mut self, percent: Option<u64>) -> Option<u64> {
        if let Some(percent) = percent {
            self.cpu = (self.cpu.0.saturating_add(percent), self.cpu.1 + 1);
        }
        self.cpu.0.checked_div(self.cpu.1)
    }
}

impl Posted {
    /// Puts up what was measured, with since when nothing has been written.
    fn look_at_machine(&mut self, look: Option<Look>, now: Timestamp) {
        let Some(Look {
            mut machine,
            counter,
        }) = look
        else {
            self.vitals.machine = None;
            return;
        };
        if let Some(counter) = counter {
            match &mut self.written {
                Some(written) if written.counter == counter => {
                    machine.no_writes_since = Some(clock::written(written.since));
                    machine.cpu_percent = written.cpu_with(machine.cpu_percent);
                }
                written => {
                    *written = Some(Written {
                        counter,
                        since: now,
                        cpu: (0, 0),
                    });
                }
            }
        }
        self.vitals.machine = Some(Box::new(machine));
    }
}

/// Which of the two watchers.
#[derive(Debug, Clone, Copy)]
enum Watcher {
    Guest,
    Machine,
}

impl Watcher {
    const fn period(self, incident_open: bool) -> Duration {
        match (self, incident_open) {
            (Watcher::Guest, true) => Duration::from_secs(3),
            (Watcher::Guest, false) => Duration::from_secs(30),
            (Watcher::Machine, true) => Duration::from_secs(10),
            (Watcher::Machine, false) => Duration::from_secs(60),
        }
    }
}

/// Starts both watchers of `station`; they end with `cancel`.
pub(crate) fn watch(inner: &Arc<Inner>, station: &Arc<Station>, cancel: &CancellationToken) {
    for watcher in [Watcher::Guest, Watcher::Machine] {
        let (inner, station, cancel) = (Arc::clone(inner), Arc::clone(station), cancel.clone());
        let tracker = inner.tracker.clone();
        tracker.spawn(async move {
            cancel
                .run_until_cancelled(keep_watch(&inner, &station, watcher))
                .await;
        });
    }
}

async fn keep_watch(inner: &Inner, station: &Station, watcher: Watcher) {
    let mut sampled: Option<Instant> = None;
    loop {
        let open = open_incidents(inner, &station.target.name).await;
        let period = watcher.period(!open.is_empty());
        let due = sampled.is_none_or(|at| at.elapsed() >= period);
        // A verb holds the machine between two states; its end wakes the watchers.
        if due && inner.queue().mutating(&station.target.name).is_none() {
            sampled = Some(Instant::now());
            let error = sample(inner, station, watcher, &open).await;
            let newest = open.first().copied();
            let board = &station.vitals;
            let mut news = board.judge_key(watcher, newest, error.as_ref());
            news.extend(board.conclude(newest, station.since_change()));
            publish(inner, station, &open);
            tell(inner, newest, news).await;
        }
        let woken = station.wake[watcher as usize].notified();
        if timeout(TICK, woken).await.is_ok() {
            sampled = None;
        }
    }
}

async fn open_incidents(inner: &Inner, target: &str) -> Vec<IncidentId> {
    let open = timeout(LOG_LIMIT, inner.journal.open_incidents(target)).await;
    open.ok().and_then(Result::ok).unwrap_or_default()
}

async fn sample(
    inner: &Inner,
    station: &Station,
    watcher: Watcher,
    open: &[IncidentId],
) -> Option<SshError> {
    match watcher {
        Watcher::Guest => ask_guest(inner, station, open).await,
        Watcher::Machine => ask_host(station).await,
    }
}

async fn ask_guest(inner: &Inner, station: &Station, open: &[IncidentId]) -> Option<SshError> {
    let order = Order {
        command: "true",
        deadline: ANSWER_LIMIT,
        urgency: Urgency::Patient,
    };
    let asked = Instant::now();
    let mut ignore = |_: OutputStream, _: &str| {};
    let mut answering = pin!(station.guest.exec(order, &mut ignore));
    let answer = match timeout(PATIENCE, &mut answering).await {
        Ok(answer) => answer,
        Err(_) => {
            // A dial may take twice as long again; the operator sees the silence now.
            station.vitals.miss_guest();
            publish(inner, station, open);
            answering.await
        }
    };
    let took = asked.elapsed();
    let mut posted = station.vitals.lock();
    posted.vitals.ssh = guest_vital(&posted.vitals.ssh, &answer, took, Timestamp::now());
    answer.err()
}

async fn ask_host(station: &Station) -> Option<SshError> {
    let urgency = Urgency::Patient;
    let mut machine = None;
    let mut measured = |stream, line: &str| {
        if stream == OutputStream::Stdout {
            machine = machine::read(line).or(machine.take());
        }
    };
    let gate_is_old = station.vitals.lock().gate_is_old;
    let verb = if gate_is_old {
        Verb::Status
    } else {
        Verb::Vitals
    };
    let mut ended = conduct(&station.host, verb, urgency, &mut measured).await;
    let is_unknown = verb == Verb::Vitals && ended.outcome == VerbOutcome::Refused;
    if is_unknown {
        ended = conduct(&station.host, Verb::Status, urgency, &mut |_, _| {}).await;
    }
    let mut posted = station.vitals.lock();
    posted.look_at_machine(machine, Timestamp::now());
    // Asked for once: a gate that is replaced is noticed when the server starts anew.
    posted.gate_is_old |= is_unknown && ended.outcome != VerbOutcome::Refused;
    posted.vitals.vm = machine_vital(&posted.vitals.vm, &ended, Timestamp::now());
    ended.error
}

fn publish(inner: &Inner, station: &Station, open: &[IncidentId]) {
    for incident in open {
        inner
            .journal
            .publish(*incident, Frame::Vitals(station.vitals.read()));
    }
}

/// Writes what the signs mean into the newest open incident.
async fn tell(inner: &Inner, newest: Option<IncidentId>, news: Vec<EventBody>) {
    let Some(newest) = newest else { return };
    for body in news {
        inner.journal.record(newest, Actor::System, body).await;
    }
}

fn guest_vital(
    last: &Vital,
    answer: &Result<Exit, SshError>,
    took: Duration,
    now: Timestamp,
) -> Vital {
    let ms = took.as_millis();
    let (state, text) = match answer {
        Ok(Exit::Code(0)) if took < SLOW => (VitalState::Good, format!("answers in {ms} ms")),
        Ok(Exit::Code(0)) => (VitalState::Slow, format!("slow: answers in {ms} ms")),
        Ok(_) => (VitalState::Slow, "answers, but runs no command".to_owned()),
        Err(error) => silence(last, error, now),
    };
    vital(last, state, text, now)
}

/// A guest that has not answered yet, and may still.
fn still_waiting(last: &Vital, now: Timestamp) -> Vital {
    match last.state {
        VitalState::Dead => last.clone(),
        _ => {
            let text = format!("no answer for {} s yet", PATIENCE.as_secs());
            vital(last, VitalState::Slow, text, now)
        }
    }
}

fn silence(last: &Vital, error: &SshError, now: Timestamp) -> (VitalState, String) {
    let silence = match last.state {
        VitalState::Dead => format!(
            "no answer for {} s",
            clock::seconds_between(&last.since, now)
        ),
        _ => "no answer".to_owned(),
    };
    let because = match error {
        SshError::KeyRefused { .. } => return (VitalState::Unknown, "refuses the key".to_owned()),
        SshError::HostKeyChanged { .. } => {
            return (
                VitalState::Unknown,
                "shows another host key than the pinned one".to_owned(),
            );
        }
        SshError::HostKeyUnknown { .. } => {
            return (
                VitalState::Unknown,
                "shows a host key that is not pinned".to_owned(),
            );
        }
        SshError::HostKeyFile { .. } => return (VitalState::Unknown, error.to_string()),
        SshError::Unreachable { cause, .. } => format!(" ({cause})"),
        _ => String::new(),
    };
    (VitalState::Dead, format!("{silence}{because}"))
}

fn machine_vital(last: &Vital, ended: &Conclusion, now: Timestamp) -> Vital {
    let verdict = ended.verdict.as_deref().and_then(Verdict::parse);
    let (state, text) = match (verdict, ended.outcome) {
        (Some(verdict), _) => (state_of(&verdict), verdict.to_string()),
        (None, VerbOutcome::Unreachable) => (VitalState::Unknown, ended.message.clone()),
        (None, _) => (
            VitalState::Unknown,
            format!("the gate does not tell: {}", ended.message),
        ),
    };
    vital(last, state, text, now)
}

const fn state_of(verdict: &Verdict) -> VitalState {
    match verdict {
        Verdict::Running => VitalState::Good,
        Verdict::Stopped | Verdict::Unkillable => VitalState::Dead,
        Verdict::MonitorDead | Verdict::Locked(_) | Verdict::HaManaged => VitalState::Slow,
        Verdict::Unknown(_) => VitalState::Unknown,
    }
}

fn vital(last: &Vital, state: VitalState, text: String, now: Timestamp) -> Vital {
    let seen = clock::written(now);
    let since = if last.state == state {
        last.since.clone()
    } else {
        seen.clone()
    };
    Vital {
        state,
        text,
        since,
        seen,
    }
}

#[cfg(test)]
mod tests;
