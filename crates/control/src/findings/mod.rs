//! Findings: what the evidence means, by fixed rules, without any model.
//!
//! A rule decides on typed signs that two probes saw and that have lasted. It never recommends to stop a
//! guest whose SSH answers, nor a verb that a lock, a task or a missing way to start again forbids.

mod signature;
mod signs;
mod stall;
#[cfg(test)]
mod tests;

use std::time::Duration;

use breakglass_model::{Diagnosis, EventBody, Machine, SignsFinding};
use breakglass_verbs::Verb;

pub(crate) use signature::Signature;
pub(crate) use signs::{GuestSign, HostSign, MachineReport, Sign, Tracked};

use signs::{RunState, VmState};
use stall::{DiskActivity, stall};

/// How long a guest must have been silent before its silence has a meaning.
const SILENCE_MIN_S: u64 = 20;
/// How long a guest may take to boot after a mutating verb.
const BOOT_TIME: Duration = Duration::from_secs(90);
/// Older signs are not combined. While no incident is open the guest is probed every 30 s, and the host as
/// soon as the guest does not answer; the rest is for slow answers.
const SIGN_MAX_AGE: Duration = Duration::from_secs(45);

/// One conclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) signature: Signature,
    pub(crate) summary: String,
    pub(crate) evidence: Vec<String>,
    pub(crate) recommend: Option<Verb>,
}

impl Finding {
    /// The event; `diagnosis` is the one that found it, `None` if the vital signs did.
    pub(crate) fn into_event(self, diagnosis: Option<Diagnosis>) -> EventBody {
        EventBody::Finding {
            check: diagnosis,
            signature: self.signature.as_str().to_owned(),
            summary: self.summary,
            evidence: self.evidence,
            recommend: self.recommend,
        }
    }

    /// The finding as a part of the vital signs.
    pub(crate) fn into_vitals(self) -> SignsFinding {
        SignsFinding {
            signature: self.signature.as_str().to_owned(),
            summary: self.summary,
            evidence: self.evidence,
            recommend: self.recommend,
        }
    }
}

/// The input of the rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs<'a> {
    pub(crate) guest: Sign<GuestSign>,
    pub(crate) host: Sign<HostSign>,
    /// What the gate measured in the last probe.
    pub(crate) machine: Option<&'a Machine>,
    /// Seconds for which the disks have written nothing; `None` if they write, or it is unknown.
    pub(crate) no_writes_s: Option<u64>,
    /// The gate failed to find out whether high availability manages the guest.
    pub(crate) ha_unknown: bool,
    /// The texts of both vital signs, as evidence.
    pub(crate) ssh_text: &'a str,
    pub(crate) vm_text: &'a str,
    /// Time since a mutating verb ended.
    pub(crate) since_change: Option<Duration>,
}

impl Signs<'_> {
    /// Whether both signs are recent.
    pub(crate) fn are_fresh(&self) -> bool {
        self.guest.age <= SIGN_MAX_AGE && self.host.age <= SIGN_MAX_AGE
    }

    /// What the signs mean together.
    pub(crate) fn finding(&self) -> Option<Finding> {
        let is_booting = self.since_change.is_some_and(|ago| ago < BOOT_TIME);
        let HostSign::Reported(report) = self.host.value else {
            return None;
        };
        if is_booting || !self.are_fresh() {
            return None;
        }
        let claim = self.claim(report)?;
        let min_s = claim.signature.row().lasts;
        self.host
            .has_lasted(min_s)
            .then(|| self.into_finding(claim))
    }

    fn claim(&self, report: MachineReport) -> Option<Claim> {
        let guest = self.guest;
        let answers = guest.value.answers() && guest.has_lasted(0);
        let is_silent = guest.value.is_silent() && guest.has_lasted(SILENCE_MIN_S);
        if !answers && !is_silent {
            return None;
        }
        if report.is_elsewhere {
            return Some(Claim::new(Signature::NotHere, None));
        }
        if report.is_frozen {
            return Some(Claim::new(Signature::GuestFrozen, None));
        }
        match (answers, report.is_busy) {
            (true, true) => None,
            (true, false) => with_answering_guest(report),
            (false, true) => Some(self.busy()),
            (false, false) => self.with_silent_guest(report),
        }
    }

    fn busy(&self) -> Claim {
        let lock = self.machine.and_then(|machine| machine.lock.as_ref());
        let job = self.machine.and_then(|machine| machine.job.as_ref());
        let reasons = [
            lock.map(|lock| format!("it is locked by {lock}")),
            job.map(|job| format!("{job} is working on it")),
        ];
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        let mut claim = Claim::new(Signature::Busy, None);
        if !reasons.is_empty() {
            claim.summary = format!("Busy: {}. {}", reasons.join("; "), claim.summary);
        }
        claim
    }

    /// What the state of the machine means if its guest is silent and nothing is working on it.
    fn with_silent_guest(&self, report: MachineReport) -> Option<Claim> {
        let by_run_state = report.run_state.and_then(stopped_by_qemu);
        match (report.vm, by_run_state) {
            (VmState::Stopped, _) => Some(Claim::new(Signature::VmStopped, Some(Verb::Start))),
            (VmState::Unkillable, _) => Some(Claim::new(Signature::Unkillable, None)),
            (VmState::MonitorDead, _) => {
                Some(Claim::new(Signature::MonitorDead, Some(Verb::Cycle)))
            }
            (_, Some(claim)) => Some(claim),
            (VmState::Running, None) => Some(self.running()),
            (VmState::Locked | VmState::HaManaged | VmState::Unknown, None) => None,
        }
    }

    fn running(&self) -> Claim {
        // A kernel that refuses a connection neither spins nor waits for a disk.
        if self.guest.value == GuestSign::Refuses {
            return Claim::new(Signature::SshRefused, None);
        }
        match stall(self.disk(), self.cpu_percent()) {
            Some((signature, summary)) => Claim {
                signature,
                summary,
                verb: Some(Verb::Cycle),
            },
            None => Claim::new(Signature::GuestSilent, Some(Verb::Cycle)),
        }
    }

    /// The claim with its evidence, and without a verb that something forbids.
    fn into_finding(self, claim: Claim) -> Finding {
        let Claim {
            signature,
            mut summary,
            verb: mut recommend,
        } = claim;
        let machine = self.machine;
        let no_way_back = machine.and_then(|machine| machine.no_way_back.as_ref());
        if let (Some(reason), Some(_)) = (no_way_back, recommend) {
            summary.push_str(&format!(
                " But not now, since the guest could not be started again: {reason}"
            ));
            recommend = None;
        }
        if recommend.is_some() {
            summary.push_str(self.high_availability());
        }
        let mut evidence = vec![
            format!("guest SSH: {}", self.ssh_text),
            format!("VM: {}", self.vm_text),
        ];
        evidence.extend(self.disk().evidence());
        let cpu = self.cpu_percent();
        evidence.extend(cpu.map(|percent| format!("processor time: {percent} % of one")));
        Finding {
            signature,
            summary,
            evidence,
            recommend,
        }
    }

    fn disk(&self) -> DiskActivity {
        let rate = self.machine.and_then(|machine| machine.writes_per_s);
        match (self.no_writes_s, rate) {
            (Some(seconds), _) => DiskActivity::NoWritesFor(seconds),
            (None, Some(rate)) => DiskActivity::WritesPerSecond(rate),
            (None, None) => DiskActivity::Unknown,
        }
    }

    /// The processor time of QEMU, in percent of one processor.
    fn cpu_percent(&self) -> Option<u64> {
        self.machine.and_then(|machine| machine.cpu_percent)
    }

    fn high_availability(&self) -> &'static str {
        match self.machine.and_then(|machine| machine.ha_managed) {
            Some(true) => {
                " High availability manages the guest: start and stop are requests to it, and take \
                 longer."
            }
            None if self.ha_unknown => " Whether high availability manages the guest is unknown.",
            _ => "",
        }
    }
}

/// A rule's conclusion, before anything forbids its verb.
struct Claim {
    signature: Signature,
    summary: String,
    verb: Option<Verb>,
}

impl Claim {
    fn new(signature: Signature, verb: Option<Verb>) -> Claim {
        Claim {
            signature,
            summary: signature.sentence(),
            verb,
        }
    }
}

/// What the state of the machine means if the guest's SSH answers. Such a guest is never stopped.
fn with_answering_guest(report: MachineReport) -> Option<Claim> {
    match report.vm {
        VmState::Stopped => Some(Claim::new(Signature::AddressTaken, None)),
        VmState::MonitorDead => Some(Claim {
            signature: Signature::MonitorDead,
            summary: "QEMU's monitor is dead, but the guest runs and its SSH answers: no verb is \
                      needed now. Save important data, and cycle the guest at a quiet time; until then \
                      backup, migration and the screen do not work."
                .to_owned(),
            verb: None,
        }),
        _ => None,
    }
}

/// What a run state means in which QEMU is up and the guest does not run.
fn stopped_by_qemu(run_state: RunState) -> Option<Claim> {
    let (signature, verb) = match run_state {
        RunState::Panicked => (Signature::GuestPanicked, Verb::Cycle),
        RunState::IoError => (Signature::QemuIoError, Verb::Start),
        RunState::InternalError => (Signature::QemuInternalError, Verb::Cycle),
        RunState::Paused => (Signature::VmPaused, Verb::Start),
        RunState::Suspended => (Signature::VmSuspended, Verb::Start),
        RunState::ShutDown => (Signature::VmShutDown, Verb::Cycle),
        RunState::Prelaunch => (Signature::VmPrelaunch, Verb::Start),
        RunState::Running | RunState::Migrating | RunState::Migrated | RunState::Other => {
            return None;
        }
    };
    Some(Claim::new(signature, Some(verb)))
}
