//! The vital signs of one target: the latest result of each watcher, what both mean together, and what has been
//! recorded of that. The watchers write it; control, diagnoses and the page read it.

mod gate_output;
mod vital;

#[cfg(test)]
mod tests;

use std::time::Duration;

use breakglass_model::{
    EventBody, IncidentId, Level, Machine, Side, Time, Vital, VitalState, Vitals,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::findings::{Finding, GuestSign, HostSign, MachineReport, Signature, Signs, Tracked};
use crate::invoke::VerbResult;
use crate::measurement::{Measurement, WriteCounter};
use crate::ssh::SshError;

pub(crate) use gate_output::GateOutput;
pub(crate) use vital::GUEST_ANSWER_EXPECTED;
use vital::{guest_sign, guest_vital, guest_wait, host_vital, host_wait};

/// A host that has not answered for this long is reported as unknown.
const HOST_UNKNOWN_AFTER: Duration = Duration::from_secs(8);
/// How long a gate counts as an older one before it is asked for its vital signs again.
const OLD_GATE_RETRY_AFTER: Duration = Duration::from_secs(120);
/// Text of a vital sign before the first probe.
const NOT_PROBED: &str = "not probed yet";

/// The vital signs of one target.
#[derive(Debug)]
pub(crate) struct VitalsState(Mutex<State>);

#[derive(Debug)]
struct State {
    vitals: Vitals,
    /// The same signs in the form that the rules use.
    guest: Tracked<GuestSign>,
    host: Tracked<HostSign>,
    ha_unknown: bool,
    /// The disks' write counter, since it last changed.
    writes: Option<UnchangedWrites>,
    /// When the gate proved to know `status` only.
    gate_is_old_since: Option<Instant>,
    /// The finding that was recorded last, and its incident.
    recorded: Option<(IncidentId, Signature)>,
    /// For each side, the changed host key that was recorded last, and its incident.
    recorded_guest_key: Option<(IncidentId, EventBody)>,
    recorded_host_key: Option<(IncidentId, EventBody)>,
}

impl VitalsState {
    pub(crate) fn new(target: &str) -> VitalsState {
        let created = Time::now();
        let not_probed = Vital {
            state: VitalState::Unknown,
            text: NOT_PROBED.to_owned(),
            since: created,
            seen: created,
        };
        let now = Instant::now();
        VitalsState(Mutex::new(State {
            vitals: Vitals {
                target: target.to_owned(),
                ssh: not_probed.clone(),
                vm: not_probed,
                machine: None,
                finding: None,
            },
            guest: Tracked::new(GuestSign::Unknown, now),
            host: Tracked::new(HostSign::Unknown, now),
            ha_unknown: false,
            writes: None,
            gate_is_old_since: None,
            recorded: None,
            recorded_guest_key: None,
            recorded_host_key: None,
        }))
    }

    pub(crate) fn read(&self) -> Vitals {
        self.0.lock().vitals.clone()
    }

    /// The vital signs with their times, as part of a sentence; `None` before the first probe.
    pub(crate) fn summary(&self) -> Option<String> {
        let state = self.0.lock();
        let was_probed = state.guest.probes > 0 || state.host.probes > 0;
        was_probed.then(|| vital::summary(&state.vitals))
    }

    /// Whether the gate supports the verb `vitals`, as far as is known.
    pub(crate) fn gate_knows_vitals(&self) -> bool {
        let since = self.0.lock().gate_is_old_since;
        since.is_none_or(|since| since.elapsed() >= OLD_GATE_RETRY_AFTER)
    }

    pub(crate) fn set_gate_is_old(&self, is_old: bool) {
        self.0.lock().gate_is_old_since = is_old.then(Instant::now);
    }

    /// The guest has not answered yet, but still may.
    pub(crate) fn record_guest_wait(&self) {
        let mut state = self.0.lock();
        state.vitals.ssh = guest_wait(&state.vitals.ssh, Time::now());
        if !state.guest.value.is_silent() {
            let is_same = state.guest.value == GuestSign::Waiting;
            state
                .guest
                .record(GuestSign::Waiting, is_same, Instant::now());
        }
    }

    /// The host has not answered for `waited`, but still may.
    pub(crate) fn record_host_wait(&self, waited: Duration) {
        let mut state = self.0.lock();
        let is_unknown = waited >= HOST_UNKNOWN_AFTER;
        state.vitals.vm = host_wait(&state.vitals.vm, waited, is_unknown, Time::now());
        if is_unknown {
            state.host.record(HostSign::Unknown, false, Instant::now());
            state.vitals.machine = None;
        }
    }

    /// Records the result of a probe of the guest: the exit code of its command.
    pub(crate) fn record_guest(
        &self,
        answer: &Result<Option<u32>, SshError>,
        took: Duration,
    ) -> GuestSign {
        let mut state = self.0.lock();
        state.vitals.ssh = guest_vital(&state.vitals.ssh, answer, took, Time::now());
        let guest = guest_sign(answer);
        let before = state.guest.value;
        let is_same = before == guest || (before.is_silent() && guest.is_silent());
        state.guest.record(guest, is_same, Instant::now());
        guest
    }

    /// Records the result of a probe of the host.
    pub(crate) fn record_host(&self, measurement: Option<Measurement>, result: &VerbResult) {
        let mut state = self.0.lock();
        let now = Instant::now();
        let verdict = result.verdict.as_ref();
        let report = verdict.map(|verdict| MachineReport::new(verdict, measurement.as_ref()));
        let host = report.map_or(HostSign::Unknown, HostSign::Reported);
        let is_same = state.host.value == host;
        state.host.record(host, is_same, now);
        state.record_measurement(measurement, Time::now(), now);
        state.vitals.vm = host_vital(&state.vitals.vm, result, Time::now());
    }

    /// What the signs mean together now.
    pub(crate) fn finding(&self, since_change: Option<Duration>) -> Option<Finding> {
        self.0.lock().signs(since_change).finding()
    }

    /// Updates the finding, and returns the event to record in `incident` if it is new there.
    pub(crate) fn update_finding(
        &self,
        incident: Option<IncidentId>,
        since_change: Option<Duration>,
    ) -> Option<EventBody> {
        let mut state = self.0.lock();
        let signs = state.signs(since_change);
        let finding = signs.finding();
        let is_fresh = signs.are_fresh();
        state.vitals.finding = finding.clone().map(Finding::into_vitals);
        let current = incident.zip(finding.as_ref().map(|finding| finding.signature));
        // A finding that is only unknown at the moment is not over: it must not be recorded again.
        if current.is_none() && incident.is_some() && !is_fresh {
            return None;
        }
        let is_new = current.is_some() && state.recorded != current;
        state.recorded = current;
        let finding = finding.filter(|_| is_new)?;
        Some(finding.into_event(None))
    }

    /// Removes the finding of before a verb started; returns whether there was one.
    pub(crate) fn withdraw_finding(&self) -> bool {
        self.0.lock().vitals.finding.take().is_some()
    }

    /// The events to record in `incident` if `side` has a changed host key: once for each key.
    pub(crate) fn key_news(
        &self,
        side: Side,
        incident: Option<IncidentId>,
        error: Option<&SshError>,
    ) -> Vec<EventBody> {
        let mut state = self.0.lock();
        let recorded = match side {
            Side::Guest => &mut state.recorded_guest_key,
            Side::Host => &mut state.recorded_host_key,
        };
        let changed = error.and_then(|error| Some((error.host_key_event()?, error)));
        let (Some(incident), Some((body, error))) = (incident, changed) else {
            // A silent machine shows no key: only a successful login proves that the key is right again.
            recorded.take_if(|_| error.is_none());
            return Vec::new();
        };
        let current = Some((incident, body.clone()));
        if *recorded == current {
            return Vec::new();
        }
        *recorded = current;
        let notice = EventBody::Notice {
            level: Level::Error,
            code: "host_key_changed".to_owned(),
            message: format!("{error}. Until then no verb or diagnosis reaches it."),
        };
        vec![body, notice]
    }
}

/// A write counter that has not changed, and what was measured meanwhile.
#[derive(Debug)]
struct UnchangedWrites {
    counter: WriteCounter,
    since: Time,
    since_instant: Instant,
    last_seen: Instant,
    /// Processor time in percent over all later measurements, and their number. One measurement lasts a
    /// second, and a login may fall into it.
    cpu_percent_sum: u64,
    cpu_measurements: u64,
}

impl UnchangedWrites {
    fn new(counter: WriteCounter, at: Time, now: Instant) -> UnchangedWrites {
        UnchangedWrites {
            counter,
            since: at,
            since_instant: now,
            last_seen: now,
            cpu_percent_sum: 0,
            cpu_measurements: 0,
        }
    }

    /// The average processor time, with one more measurement.
    fn average_cpu(&mut self, percent: Option<u64>) -> Option<u64> {
        if let Some(percent) = percent {
            self.cpu_percent_sum = self.cpu_percent_sum.saturating_add(percent);
            self.cpu_measurements += 1;
        }
        self.cpu_percent_sum.checked_div(self.cpu_measurements)
    }
}

impl State {
    /// Stores the machine's measurement, and since when nothing has been written.
    fn record_measurement(&mut self, measurement: Option<Measurement>, at: Time, now: Instant) {
        let Some(measurement) = measurement else {
            self.vitals.machine = None;
            return;
        };
        let mut machine = measurement.machine;
        self.ha_unknown = measurement.ha_unknown;
        if let Some(counter) = measurement.writes {
            match &mut self.writes {
                Some(writes) if writes.counter == counter => {
                    machine.no_writes_since = Some(writes.since);
                    machine.cpu_percent = writes.average_cpu(machine.cpu_percent);
                    writes.last_seen = now;
                }
                writes => *writes = Some(UnchangedWrites::new(counter, at, now)),
            }
        }
        self.vitals.machine = Some(Box::new(machine));
    }

    fn signs(&self, since_change: Option<Duration>) -> Signs<'_> {
        let now = Instant::now();
        let machine = self.vitals.machine.as_deref();
        let writes_nothing =
            machine.is_some_and(|machine: &Machine| machine.no_writes_since.is_some());
        let writes = self.writes.as_ref().filter(|_| writes_nothing);
        Signs {
            guest: self.guest.sign(now),
            host: self.host.sign(now),
            machine,
            no_writes_s: writes.map(|writes| {
                writes
                    .last_seen
                    .duration_since(writes.since_instant)
                    .as_secs()
            }),
            ha_unknown: self.ha_unknown,
            ssh_text: &self.vitals.ssh.text,
            vm_text: &self.vitals.vm.text,
            since_change,
        }
    }
}
