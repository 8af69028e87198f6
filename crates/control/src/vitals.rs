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
            text: "not looked at yet".to_owned(),
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
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::target::Endpoint;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + second).unwrap()
    }

    fn silent() -> Result<Exit, SshError> {
        let endpoint = Endpoint {
            host: "192.0.2.1".into(),
            port: 22,
            user: "root".into(),
        };
        Err(SshError::Unreachable {
            endpoint,
            cause: "Connection refused".into(),
        })
    }

    fn unseen() -> Vital {
        Board::new("devvm").read().ssh
    }

    #[test]
    fn a_guest_that_answers_is_good_or_slow_by_how_long_it_takes() {
        let answer = Ok(Exit::Code(0));
        let quick = guest_vital(&unseen(), &answer, Duration::from_millis(12), at(0));
        assert_eq!(
            (quick.state, quick.text.as_str()),
            (VitalState::Good, "answers in 12 ms")
        );
        let slow = guest_vital(&quick, &answer, Duration::from_millis(2500), at(1));
        assert_eq!(
            (slow.state, slow.text.as_str()),
            (VitalState::Slow, "slow: answers in 2500 ms")
        );
    }

    #[test]
    fn silence_is_counted_from_its_first_sample() {
        let took = Duration::from_secs(1);
        let first = guest_vital(&unseen(), &silent(), took, at(10));
        assert_eq!(first.text, "no answer (Connection refused)");
        let later = guest_vital(&first, &silent(), took, at(13));
        assert_eq!(later.text, "no answer for 3 s (Connection refused)");
        assert_eq!(later.since, first.since);
        assert_ne!(later.seen, first.seen);
        let back = guest_vital(&later, &Ok(Exit::Code(0)), Duration::ZERO, at(16));
        assert_eq!(back.since, back.seen);
    }

    #[test]
    fn a_guest_that_keeps_us_waiting_is_missed_before_the_wait_is_over() {
        let waiting = still_waiting(&unseen(), at(2));
        assert_eq!(
            (waiting.state, waiting.text.as_str()),
            (VitalState::Slow, "no answer for 2 s yet")
        );
        let dead = guest_vital(&waiting, &silent(), SLOW, at(5));
        assert_eq!(still_waiting(&dead, at(7)), dead);
    }

    #[test]
    fn a_refused_key_is_no_silence() {
        let endpoint = Endpoint {
            host: "192.0.2.1".into(),
            port: 22,
            user: "root".into(),
        };
        let vital = guest_vital(
            &unseen(),
            &Err(SshError::KeyRefused { endpoint }),
            SLOW,
            at(0),
        );
        assert_eq!(
            (vital.state, vital.text.as_str()),
            (VitalState::Unknown, "refuses the key")
        );
    }

    #[test]
    fn a_finding_is_told_once_per_episode_and_incident() {
        let board = Board::new("devvm");
        let set = |text: &str, state| {
            let mut posted = board.lock();
            posted.vitals.vm.text = text.into();
            posted.vitals.vm.state = state;
            posted.vitals.vm.since =
                clock::written(Timestamp::now() - SignedDuration::from_mins(1));
        };
        let [first, second] = [1, 2].map(|number| Some(IncidentId::from_u128(number)));
        set("stopped", VitalState::Dead);
        assert!(board.conclude(None, None).is_none());
        assert!(board.conclude(first, None).is_some());
        assert!(board.conclude(first, None).is_none());
        assert!(board.read().finding.is_some());
        assert!(board.conclude(second, None).is_some());
        set("running", VitalState::Good);
        assert!(board.conclude(second, None).is_none());
        assert_eq!(board.read().finding, None);
        set("stopped", VitalState::Dead);
        assert!(board.conclude(second, None).is_some());
    }

    #[test]
    fn nothing_written_counts_from_the_first_look_that_saw_it_and_ends_with_a_write() {
        let board = Board::new("devvm");
        let look = |second, pid: u32, writes: Option<u64>| {
            let qemu = serde_json::json!({ "pid": pid, "started": 7, "state": "S" });
            let said = serde_json::json!({ "qemu": qemu, "disk": { "writes": writes } });
            let mut posted = board.lock();
            posted.look_at_machine(machine::read(&said.to_string()), at(second));
            posted.vitals.machine.clone().unwrap().no_writes_since
        };
        assert_eq!(look(0, 1, Some(40)), None);
        assert_eq!(look(10, 1, Some(41)), None);
        assert_eq!(look(20, 1, Some(41)), Some(clock::written(at(10))));
        // Not told once: what was counted before and after is the same all the same.
        assert_eq!(look(30, 1, None), None);
        assert_eq!(look(40, 1, Some(41)), Some(clock::written(at(10))));
        // Another process counts anew.
        assert_eq!(look(50, 2, Some(41)), None);
        assert_eq!(look(60, 2, Some(42)), None);
        board.lock().look_at_machine(None, at(70));
        assert_eq!(board.read().machine, None);
    }

    #[test]
    fn processor_time_is_averaged_over_the_looks_that_saw_nothing_written() {
        let board = Board::new("devvm");
        let look = |second, writes: u64, percent: Option<u64>| {
            let qemu = serde_json::json!({ "pid": 1, "started": 7, "state": "S" });
            let said = serde_json::json!({
                "qemu": qemu, "disk": { "writes": writes }, "cpu_percent": percent,
            });
            let mut posted = board.lock();
            posted.look_at_machine(machine::read(&said.to_string()), at(second));
            posted.vitals.machine.clone().unwrap().cpu_percent
        };
        // What was seen while it still wrote does not count.
        assert_eq!(look(0, 40, Some(90)), Some(90));
        assert_eq!(look(10, 40, Some(2)), Some(2));
        assert_eq!(look(20, 40, Some(40)), Some(21));
        assert_eq!(look(30, 40, None), Some(21));
        assert_eq!(look(40, 41, None), None);
        assert_eq!(look(50, 41, None), None);
        assert_eq!(look(60, 41, Some(u64::MAX)), Some(u64::MAX));
        assert_eq!(look(70, 41, Some(u64::MAX)), Some(u64::MAX / 2));
    }

    #[test]
    fn a_changed_key_is_told_once_with_what_to_do_and_again_when_it_changes_again() {
        let board = Board::new("devvm");
        let changed = |shown: &str| {
            let endpoint = Endpoint {
                host: "192.0.2.1".into(),
                port: 22,
                user: "root".into(),
            };
            SshError::HostKeyChanged {
                endpoint,
                pinned: "SHA256:a".into(),
                shown: shown.into(),
                file: "/data/known_hosts".into(),
                line: 3,
            }
        };
        let incident = Some(IncidentId::from_u128(1));
        let tell = |watcher, error: Option<&SshError>| board.judge_key(watcher, incident, error);
        let news = tell(Watcher::Guest, Some(&changed("SHA256:b")));
        let Some(EventBody::Notice { message, .. }) = news.last() else {
            panic!("{news:?}")
        };
        assert!(message.contains("line 3 of /data/known_hosts"), "{message}");
        assert!(tell(Watcher::Guest, Some(&changed("SHA256:b"))).is_empty());
        let silent = silent().unwrap_err();
        assert!(tell(Watcher::Guest, Some(&silent)).is_empty());
        assert!(tell(Watcher::Guest, Some(&changed("SHA256:b"))).is_empty());
        assert_eq!(tell(Watcher::Machine, Some(&changed("SHA256:b"))).len(), 2);
        assert_eq!(tell(Watcher::Guest, Some(&changed("SHA256:c"))).len(), 2);
        assert!(tell(Watcher::Guest, None).is_empty());
        assert_eq!(tell(Watcher::Guest, Some(&changed("SHA256:c"))).len(), 2);
    }
}
