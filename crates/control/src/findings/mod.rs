//! What the evidence says, by rule: no model, no guessing.
//!
//! A rule decides on typed signs that were seen twice and have lasted. It never recommends to end a
//! guest whose SSH answers, nor what a lock, a task or a missing way back forbids.

mod signature;
mod signs;
#[cfg(test)]
mod tests;

use std::time::Duration;

use breakglass_model::{EventBody, Machine, SignsFinding};
use breakglass_verbs::Verb;

pub(crate) use signature::Signature;
pub(crate) use signs::{Guest, Host, Lasting, Sign, Standing, Told};

use signs::RunState;

/// How long a guest must have been silent before its silence means something.
const SILENCE: u64 = 20;
/// How long the disks must have stood still before a silent guest counts as stalled: an idle one
/// writes now and then.
const STALL: u64 = 60;
/// The same where the guest's processor is busy meanwhile, which no idle guest's is: a boot may not
/// write for a while.
const SPIN: u64 = 30;
/// A guest that takes less of a processor than this, in percent, rests. Waiting for a disk takes
/// next to nothing, answering who tries to log in a little.
const RESTS: u64 = 20;
/// One that takes this much is busy. A panicked Linux spins on one processor, of which a host that
/// is short of them does not give all.
const BUSY: u64 = 40;
/// How long a guest is given to come up after a mutating verb.
const BOOT: Duration = Duration::from_secs(90);
/// Signs that are further apart are not put together. While no incident is open the guest is asked
/// every 30 s, and the host as soon as the guest does not answer; the rest is for slow answers.
const FRESH: Duration = Duration::from_secs(45);

/// One conclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) signature: Signature,
    pub(crate) summary: String,
    pub(crate) evidence: Vec<String>,
    pub(crate) recommend: Option<Verb>,
}

impl Finding {
    /// As an event; `check` is the one that found it, none where the vital signs say it.
    pub(crate) fn body(self, check: Option<&str>) -> EventBody {
        EventBody::Finding {
            check: check.map(str::to_owned),
            signature: self.signature.as_str().to_owned(),
            summary: self.summary,
            evidence: self.evidence,
            recommend: self.recommend.map(|verb| verb.to_string()),
        }
    }

    /// As part of the vital signs that say it.
    pub(crate) fn of_signs(self) -> SignsFinding {
        SignsFinding {
            signature: self.signature.as_str().to_owned(),
            summary: self.summary,
            evidence: self.evidence,
            recommend: self.recommend.map(|verb| verb.to_string()),
        }
    }
}

/// All that a rule may look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs<'a> {
    pub(crate) guest: Sign<Guest>,
    pub(crate) host: Sign<Host>,
    /// What the gate measured at the host's last look.
    pub(crate) machine: Option<&'a Machine>,
    /// How long its disks have written nothing, in seconds; none where they do, or it can't be told.
    pub(crate) still: Option<u64>,
    /// The gate asked and could not tell whether high availability manages the guest.
    pub(crate) ha_unknown: bool,
    /// The words of both signs.
    pub(crate) words: [&'a str; 2],
    /// How long ago a mutating verb ended.
    pub(crate) since_change: Option<Duration>,
}

impl Signs<'_> {
    /// Whether both signs are of the same time.
    pub(crate) fn are_fresh(&self) -> bool {
        self.guest.age <= FRESH && self.host.age <= FRESH
    }

    /// What they say together.
    pub(crate) fn finding(&self) -> Option<Finding> {
        let boots = self.since_change.is_some_and(|ago| ago < BOOT);
        let Host::Told(told) = self.host.what else {
            return None;
        };
        if boots || !self.are_fresh() {
            return None;
        }
        let claim = self.claim(told)?;
        self.host
            .holds(claim.signature.row().lasts)
            .then(|| self.put(claim))
    }

    fn claim(&self, told: Told) -> Option<Claim> {
        let guest = self.guest;
        let answers = guest.what.answers() && guest.holds(0);
        let silent = guest.what.is_silent() && guest.holds(SILENCE);
        if told.elsewhere && (answers || silent) {
            return Some(Claim::of(Signature::NotHere, None));
        }
        if told.frozen && (answers || silent) {
            return Some(Claim::of(Signature::GuestFrozen, None));
        }
        match (answers, silent) {
            (true, _) => beside_an_answer(told),
            (_, true) if told.held => Some(self.busy()),
            (_, true) => self.in_silence(told),
            _ => None,
        }
    }

    fn busy(&self) -> Claim {
        let machine = self.machine;
        let lock = machine.and_then(|machine| machine.lock.as_ref());
        let job = machine.and_then(|machine| machine.job.as_ref());
        let holders = [
            lock.map(|lock| format!("the lock {lock} holds it")),
            job.map(|job| format!("{job} works on it")),
        ];
        let holders: Vec<String> = holders.into_iter().flatten().collect();
        let claim = Claim::of(Signature::Busy, None);
        match holders.is_empty() {
            true => claim,
            false => Claim {
                summary: format!("Busy: {}. {}", holders.join("; "), claim.summary),
                ..claim
            },
        }
    }

    /// What a machine means whose guest is silent and on which nothing works.
    fn in_silence(&self, told: Told) -> Option<Claim> {
        let by_run = told.run.and_then(stopped_by_qemu);
        match (told.standing, by_run) {
            (Standing::Stopped, _) => Some(Claim::of(Signature::VmStopped, Some(Verb::Start))),
            (Standing::Unkillable, _) => Some(Claim::of(Signature::Unkillable, None)),
            (Standing::MonitorDead, _) => {
                Some(Claim::of(Signature::MonitorDead, Some(Verb::Cycle)))
            }
            (_, Some(claim)) => Some(claim),
            (Standing::Running, None) => Some(self.running()),
            (Standing::Locked | Standing::HaManaged | Standing::Unknown, None) => None,
        }
    }

    fn running(&self) -> Claim {
        // A kernel that refuses a connection neither spins nor waits for a disk with sshd.
        if self.guest.what == Guest::Refused {
            return Claim::of(Signature::SshRefused, None);
        }
        match still(Disk::of(self), Processor::of(self)) {
            Some((signature, summary)) => Claim {
                summary,
                ..Claim::of(signature, Some(Verb::Cycle))
            },
            None => Claim::of(Signature::GuestSilent, Some(Verb::Cycle)),
        }
    }

    /// The claim with its evidence, and without the verb that something forbids.
    fn put(&self, claim: Claim) -> Finding {
        let Claim {
            signature,
            mut summary,
            wants,
        } = claim;
        let way_back = self
            .machine
            .and_then(|machine| machine.no_way_back.as_ref());
        let recommend = match way_back {
            Some(why) if wants.is_some() => {
                summary.push_str(&format!(
                    " But not now, since it could not be started again: {why}"
                ));
                None
            }
            _ => wants,
        };
        if let Some(said) = recommend.and(self.high_availability()) {
            summary.push_str(said);
        }
        let [ssh, vm] = self.words;
        let mut evidence = vec![format!("guest SSH: {ssh}"), format!("VM: {vm}")];
        evidence.extend(Disk::of(self).evidence());
        evidence.extend(Processor::of(self).evidence());
        Finding {
            signature,
            summary,
            evidence,
            recommend,
        }
    }

    fn high_availability(&self) -> Option<&'static str> {
        match self.machine.and_then(|machine| machine.ha_managed) {
            Some(true) => Some(
                " High availability manages the guest: start and stop are requests to it, and take \
                 longer.",
            ),
            None if self.ha_unknown => {
                Some(" Whether high availability manages the guest is not known.")
            }
            _ => None,
        }
    }
}

/// What a rule says, before anything forbids it.
struct Claim {
    signature: Signature,
    summary: String,
    wants: Option<Verb>,
}

impl Claim {
    fn of(signature: Signature, wants: Option<Verb>) -> Claim {
        Claim {
            signature,
            summary: signature.sentence(),
            wants,
        }
    }
}

/// A guest whose SSH answers is never ended: what its machine means then.
fn beside_an_answer(told: Told) -> Option<Claim> {
    match told.standing {
        _ if told.held => None,
        Standing::Stopped => Some(Claim::of(Signature::AddressTaken, None)),
        Standing::MonitorDead => Some(Claim {
            summary: "QEMU's monitor is dead, but the guest runs and its SSH answers: no verb is \
                      needed now. Save what matters, and end it in a quiet hour; until then backup, \
                      migration and the screen do not work."
                .to_owned(),
            ..Claim::of(Signature::MonitorDead, None)
        }),
        _ => None,
    }
}

/// What a run state means in which QEMU is up and the guest does not run.
fn stopped_by_qemu(run: RunState) -> Option<Claim> {
    let (signature, wants) = match run {
        RunState::Panicked => (Signature::GuestPanicked, Verb::Cycle),
        RunState::IoError => (Signature::QemuIoError, Verb::Start),
        RunState::InternalError => (Signature::QemuInternalError, Verb::Cycle),
        RunState::Paused => (Signature::VmPaused, Verb::Start),
        RunState::Suspended => (Signature::VmSuspended, Verb::Start),
        RunState::ShutDown => (Signature::VmShutDown, Verb::Cycle),
        RunState::Prelaunch => (Signature::VmPrelaunch, Verb::Start),
        RunState::Running | RunState::Moving | RunState::Moved | RunState::Other => return None,
    };
    Some(Claim::of(signature, Some(wants)))
}

/// What it means that a silent guest whose monitor answers writes nothing: signature and summary.
///
/// A panicked kernel and a stalled disk both write nothing. The panicked one spins; a guest that
/// waits for its disk rests. Where neither is seen neither is claimed.
fn still(disk: Disk, processor: Processor) -> Option<(Signature, String)> {
    match (disk, processor) {
        (Disk::Still(seconds @ SPIN..), Processor::Takes(percent @ BUSY..)) => Some((
            Signature::GuestSpins,
            format!(
                "Disk writes 0 for {} and the processor is busy ({percent} %), while SSH is \
                 silent: the kernel spins, as after a panic, and does not wait for a disk. The \
                 screen shows why. Cycle boots it afresh.",
                span(seconds)
            ),
        )),
        (Disk::Still(seconds @ STALL..), Processor::Takes(percent @ ..RESTS)) => Some((
            Signature::IoStall,
            format!(
                "Disk writes 0 for {} and the processor rests ({percent} %), while the monitor \
                 answers and SSH is silent: an I/O stall; after a panic the processor would be \
                 busy. Cycle; reset will not help.",
                span(seconds)
            ),
        )),
        (Disk::Still(seconds @ STALL..), _) => Some((
            Signature::IoStall,
            format!(
                "Disk writes 0 for {} while the monitor answers and the guest does not answer SSH: \
                 an I/O stall, unless the screen shows a panic. Cycle; reset will not help.",
                span(seconds)
            ),
        )),
        _ => None,
    }
}

/// What the guest's disks do, by what the gate measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// It can't be told.
    Unknown,
    /// They write this many times a second.
    Writes(u64),
    /// Nothing has been written for this many seconds.
    Still(u64),
}

impl Disk {
    fn of(signs: &Signs<'_>) -> Disk {
        let rate = signs.machine.and_then(|machine| machine.writes_per_s);
        match (signs.still, rate) {
            (Some(seconds), _) => Disk::Still(seconds),
            (None, Some(rate)) => Disk::Writes(rate),
            (None, None) => Disk::Unknown,
        }
    }

    fn evidence(self) -> Option<String> {
        match self {
            Disk::Unknown => None,
            Disk::Writes(rate) => Some(format!("disk writes: {rate} per second")),
            Disk::Still(seconds) => Some(format!("disk writes: 0 for {}", span(seconds))),
        }
    }
}

/// What the guest's processors do, by what the gate measured of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Processor {
    /// It can't be told.
    Unknown,
    /// They take this much time, in percent of one.
    Takes(u64),
}

impl Processor {
    fn of(signs: &Signs<'_>) -> Processor {
        let percent = signs.machine.and_then(|machine| machine.cpu_percent);
        percent.map_or(Processor::Unknown, Processor::Takes)
    }

    fn evidence(self) -> Option<String> {
        match self {
            Processor::Unknown => None,
            Processor::Takes(percent) => Some(format!("processor time: {percent} % of one")),
        }
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        _ => format!("{} min", seconds / 60),
    }
}
