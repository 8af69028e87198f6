//! Two watchers per target: does the guest answer on SSH, and what does the gate say of its
//! machine. Each is one task, so no sample runs beside another of its kind.
//!
//! ```text
//!   due? (sooner while an incident is open) ── sample ── board ─┬─ readers
//!                                                 └─ slow: said └─ finding, once
//! ```

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use breakglass_model::{
    Actor, EventBody, Frame, IncidentId, Level, Machine, OutputStream, VerbOutcome, Vital,
    VitalState, Vitals, clock,
};
use breakglass_verbs::{Verb, Verdict};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::control::{Inner, Station};
use crate::findings::{Finding, Guest, Host, Lasting, Signature, Signs, Told};
use crate::machine::{self, Counter, Look};
use crate::power::conduct::{Conclusion, conduct_within};
use crate::power::runner::host_key_changed;
use crate::ssh::SshError;
use crate::ssh::exec::{Exit, Order};
use crate::ssh::pool::Urgency;

/// How often a watcher asks at most whether an incident was opened, which makes samples due sooner.
const TICK: Duration = Duration::from_secs(3);
/// Shortest pause between two samples: the pause after a failed dial is as long, so that the second
/// look at what is silent is a look.
const PAUSE: Duration = Duration::from_millis(1_100);
/// Longest wait for the guest's answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// An answer that takes longer is missed at once, though it is still waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for the host: a healthy look takes a second for its counters, and its tools another.
const HOST_PATIENCE: Duration = Duration::from_secs(3);
/// A host that has not answered for longer is not known to be anything.
const HOST_UNKNOWN: Duration = Duration::from_secs(8);
/// Longest wait for the host. An older gate takes 24 s to find that a monitor is dead, and that is
/// worth to be heard.
const HOST_LIMIT: Duration = Duration::from_secs(30);
/// How long a gate counts as an older one before it is asked again for what it did not know.
const OLD_FOR: Duration = Duration::from_secs(120);
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
    /// What the rules know of both.
    guest: Lasting<Guest>,
    host: Lasting<Host>,
    ha_unknown: bool,
    /// What the guest had written in all when it was last known.
    written: Option<Written>,
    /// When the gate was seen to know `status` only.
    gate_is_old: Option<Instant>,
    /// The conclusion that was told last, and in which incident.
    told: Option<(IncidentId, Signature)>,
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
        let now = Instant::now();
        Board(Mutex::new(Posted {
            vitals,
            guest: Lasting::new(Guest::Unknown, now),
            host: Lasting::new(Host::Unknown, now),
            ha_unknown: false,
            written: None,
            gate_is_old: None,
            told: None,
            keys_told: [None, None],
        }))
    }

    pub(crate) fn read(&self) -> Vitals {
        self.lock().vitals.clone()
    }

    /// Unless the gate is known to have no more than `status`.
    pub(crate) fn gate_is_new(&self) -> bool {
        let seen = self.lock().gate_is_old;
        seen.is_none_or(|seen| seen.elapsed() >= OLD_FOR)
    }

    /// The guest has not answered yet, and may still.
    fn miss_guest(&self) {
        let mut posted = self.lock();
        posted.vitals.ssh = still_waiting(&posted.vitals.ssh, Timestamp::now());
        if !posted.guest.what.is_silent() {
            let same = posted.guest.what == Guest::Waiting;
            posted.guest.see(Guest::Waiting, same, Instant::now());
        }
    }

    /// The host has not answered for so long, and may still.
    fn miss_host(&self, waited: Duration) {
        let mut posted = self.lock();
        posted.vitals.vm = no_answer_yet(&posted.vitals.vm, waited, Timestamp::now());
        if waited >= HOST_UNKNOWN {
            posted.host.see(Host::Unknown, false, Instant::now());
            posted.vitals.machine = None;
        }
    }

    fn see_guest(&self, answer: &Result<Exit, SshError>, took: Duration) -> Guest {
        let mut posted = self.lock();
        posted.vitals.ssh = guest_vital(&posted.vitals.ssh, answer, took, Timestamp::now());
        let guest = guest_sign(answer);
        let (before, both) = (posted.guest.what, [posted.guest.what, guest]);
        let same = before == guest || both.iter().all(|guest| guest.is_silent());
        posted.guest.see(guest, same, Instant::now());
        guest
    }

    fn see_host(&self, look: Option<Look>, ended: &Conclusion) {
        let mut posted = self.lock();
        let now = Instant::now();
        posted.look_at_machine(look, Timestamp::now(), now);
        posted.vitals.vm = machine_vital(&posted.vitals.vm, ended, Timestamp::now());
        let machine = posted.vitals.machine.as_deref();
        let verdict = ended.verdict.as_deref().and_then(Verdict::parse);
        let told = verdict.map(|verdict| Told::new(&verdict, machine));
        let host = told.map_or(Host::Unknown, Host::Told);
        let same = posted.host.what == host;
        posted.host.see(host, same, now);
    }

    /// What the signs say together now.
    pub(crate) fn finding(&self, since_change: Option<Duration>) -> Option<Finding> {
        self.lock().signs(since_change).finding()
    }

    /// Puts up what the signs say together, and gives what has to be told in `incident` and has
    /// not been.
    fn conclude(
        &self,
        incident: Option<IncidentId>,
        since_change: Option<Duration>,
    ) -> Option<EventBody> {
        let mut posted = self.lock();
        let signs = posted.signs(since_change);
        let (finding, is_known) = (signs.finding(), signs.are_fresh());
        posted.vitals.finding = finding.clone().map(Finding::of_signs);
        let told = incident.zip(finding.as_ref().map(|finding| finding.signature));
        // What is not known at the moment is not over: it would be told again.
        if told.is_none() && incident.is_some() && !is_known {
            return None;
        }
        let news = posted.told != told;
        posted.told = told;
        finding
            .filter(|_| news && told.is_some())
            .map(|finding| finding.body(None))
    }

    /// Takes down what was concluded before a verb began: whether there was something.
    fn withdraw(&self) -> bool {
        self.lock().vitals.finding.take().is_some()
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
    since: (Timestamp, Instant),
    last: Instant,
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
    fn look_at_machine(&mut self, look: Option<Look>, at: Timestamp, now: Instant) {
        let Some(Look {
            mut machine,
            counter,
            ha_unknown,
        }) = look
        else {
            self.vitals.machine = None;
            return;
        };
        self.ha_unknown = ha_unknown;
        if let Some(counter) = counter {
            match &mut self.written {
                Some(written) if written.counter == counter => {
                    machine.no_writes_since = Some(clock::written(written.since.0));
                    machine.cpu_percent = written.cpu_with(machine.cpu_percent);
                    written.last = now;
                }
                written => {
                    *written = Some(Written {
                        counter,
                        since: (at, now),
                        last: now,
                        cpu: (0, 0),
                    });
                }
            }
        }
        self.vitals.machine = Some(Box::new(machine));
    }

    fn signs(&self, since_change: Option<Duration>) -> Signs<'_> {
        let (now, machine) = (Instant::now(), self.vitals.machine.as_deref());
        let written = self.written.as_ref();
        let is_still = |machine: &Machine| machine.no_writes_since.is_some();
        Signs {
            guest: self.guest.sign(now),
            host: self.host.sign(now),
            machine,
            still: written
                .filter(|_| machine.is_some_and(is_still))
                .map(|written| written.last.duration_since(written.since.1).as_secs()),
            ha_unknown: self.ha_unknown,
            words: [&self.vitals.ssh.text, &self.vitals.vm.text],
            since_change,
        }
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
            // With the patience below, a QEMU that hangs shows within 8 s.
            (Watcher::Machine, true) => Duration::from_secs(5),
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
        if inner.queue().mutating(&station.target.name).is_some() {
            if station.vitals.withdraw() {
                publish(inner, station, &open);
            }
        } else if due {
            sampled = Some(Instant::now());
            let error = sample(inner, station, watcher, &open).await;
            let newest = open.first().copied();
            let board = &station.vitals;
            let mut news = board.judge_key(watcher, newest, error.as_ref());
            news.extend(board.conclude(newest, station.since_change()));
            publish(inner, station, &open);
            tell(inner, newest, news).await;
        }
        let left = sampled.map_or(TICK, |at| period.saturating_sub(at.elapsed()));
        let woken = station.wake[watcher as usize].notified();
        if timeout(left.clamp(PAUSE, TICK), woken).await.is_ok() {
            sampled = None;
        }
    }
}

async fn open_incidents(inner: &Inner, target: &str) -> Vec<IncidentId> {
    let open = timeout(LOG_LIMIT, inner.log.open_incidents(target)).await;
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
        Watcher::Machine => ask_host(inner, station, open).await,
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
    let guest = station.vitals.see_guest(&answer, asked.elapsed());
    if guest.is_silent() {
        // Its machine as it was up to a minute ago would say nothing of a guest that is silent now.
        station.wake[Watcher::Machine as usize].notify_one();
    }
    answer.err()
}

async fn ask_host(inner: &Inner, station: &Station, open: &[IncidentId]) -> Option<SshError> {
    let mut looking = pin!(look_at_host(station));
    let mut waited = HOST_PATIENCE;
    let (look, ended) = loop {
        match timeout(HOST_PATIENCE, &mut looking).await {
            Ok(seen) => break seen,
            Err(_) => {
                station.vitals.miss_host(waited);
                publish(inner, station, open);
                waited += HOST_PATIENCE;
            }
        }
    };
    station.vitals.see_host(look, &ended);
    ended.error
}

async fn look_at_host(station: &Station) -> (Option<Look>, Conclusion) {
    let mut heard = Heard::default();
    let verb = match station.vitals.gate_is_new() {
        true => Verb::Vitals,
        false => Verb::Status,
    };
    let ask = async |verb, heard: &mut Heard| {
        let mut hear = |stream, line: &str| heard.hear(stream, line);
        conduct_within(&station.host, verb, HOST_LIMIT, Urgency::Patient, &mut hear).await
    };
    let mut ended = ask(verb, &mut heard).await;
    let is_unknown = verb == Verb::Vitals && ended.is_unknown_word;
    if is_unknown {
        ended = ask(Verb::Status, &mut Heard::default()).await;
    }
    let is_old = is_unknown && ended.verdict.is_some();
    if is_old || verb == Verb::Vitals {
        station.vitals.lock().gate_is_old = is_old.then(Instant::now);
    }
    (heard.look(), ended)
}

/// What came with a look.
#[derive(Debug, Default)]
struct Heard {
    look: Option<Look>,
    /// The first line that no gate prints.
    noise: Option<String>,
}

impl Heard {
    fn hear(&mut self, stream: OutputStream, line: &str) {
        if stream != OutputStream::Stdout {
            return;
        }
        let look = machine::read(line);
        if look.is_none() && !line.starts_with("verdict: ") && !line.trim().is_empty() {
            self.noise.get_or_insert_with(|| line.to_owned());
        }
        self.look = look.or(self.look.take());
    }

    fn look(self) -> Option<Look> {
        let mut look = self.look?;
        let note = |said| format!("something on the host prints before or after the gate: {said}");
        look.machine.notes.extend(self.noise.map(note));
        Some(look)
    }
}

fn publish(inner: &Inner, station: &Station, open: &[IncidentId]) {
    for incident in open {
        inner
            .log
            .publish(*incident, Frame::Vitals(station.vitals.read()));
    }
}

/// Writes what the signs mean into the newest open incident.
async fn tell(inner: &Inner, newest: Option<IncidentId>, news: Vec<EventBody>) {
    let Some(newest) = newest else { return };
    for body in news {
        inner.log.record(newest, Actor::System, body).await;
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

/// A host that has not answered for so long, and may still.
fn no_answer_yet(last: &Vital, waited: Duration, now: Timestamp) -> Vital {
    let text = format!("no answer from the host for {} s yet", waited.as_secs());
    match (waited >= HOST_UNKNOWN, last.state) {
        (true, _) => vital(last, VitalState::Unknown, text, now),
        (false, VitalState::Good | VitalState::Slow) => vital(last, VitalState::Slow, text, now),
        // What was dead or unknown before is no better for being waited for.
        (false, VitalState::Dead | VitalState::Unknown) => last.clone(),
    }
}

const fn guest_sign(answer: &Result<Exit, SshError>) -> Guest {
    match answer {
        Ok(Exit::Code(0)) => Guest::Answers,
        Ok(_)
        | Err(
            SshError::KeyRefused { .. }
            | SshError::HostKeyChanged { .. }
            | SshError::HostKeyUnknown { .. }
            | SshError::ShutOut { .. }
            | SshError::Crowded { .. }
            | SshError::NoSession { .. }
            | SshError::Protocol { .. },
        ) => Guest::Strange,
        Err(SshError::HostKeyFile { .. } | SshError::HeldBack { .. }) => Guest::Unknown,
        Err(SshError::Unreachable { refused: true, .. }) => Guest::Refused,
        Err(SshError::Unreachable { .. } | SshError::TimedOut { .. } | SshError::Lost { .. }) => {
            Guest::Silent
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
        SshError::Protocol { cause, .. } => {
            return (
                VitalState::Slow,
                format!("answers, but not as an SSH server should: {cause}"),
            );
        }
        SshError::ShutOut { .. } => {
            let text = "answers, but its sshd refuses this machine for now (PerSourcePenalties, MaxStartups)";
            return (VitalState::Unknown, text.to_owned());
        }
        SshError::HeldBack { .. } => {
            let text = "not asked: logins there failed just now";
            return (VitalState::Unknown, text.to_owned());
        }
        SshError::Crowded { .. } | SshError::NoSession { .. } => {
            let text = "answers, but its sshd grants no session now (MaxSessions)";
            return (VitalState::Unknown, text.to_owned());
        }
        SshError::Unreachable { cause, .. } => format!(" ({cause})"),
        SshError::TimedOut { .. } | SshError::Lost { .. } => String::new(),
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
