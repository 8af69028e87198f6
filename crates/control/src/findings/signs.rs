//! The signs that the rules decide on: typed, with how long each has lasted and how many probes saw it.

use std::time::Duration;

use breakglass_model::Machine;
use breakglass_verbs::Verdict;
use tokio::time::Instant;

use crate::measurement::Measurement;

/// Whether the guest answers on SSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuestSign {
    /// It was not probed, or could not be.
    Unknown,
    /// It has not answered yet, but still may.
    Waiting,
    /// It runs commands.
    Answers,
    /// It answers, but runs no command, refuses the key, or shows another host key.
    AnswersOddly,
    /// It does not answer.
    Silent,
    /// Its kernel answers that nothing listens.
    Refuses,
}

impl GuestSign {
    pub(crate) const fn answers(self) -> bool {
        matches!(self, GuestSign::Answers | GuestSign::AnswersOddly)
    }

    pub(crate) const fn is_silent(self) -> bool {
        matches!(self, GuestSign::Silent | GuestSign::Refuses)
    }
}

/// QEMU's run state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunState {
    Running,
    Paused,
    IoError,
    InternalError,
    ShutDown,
    Suspended,
    Prelaunch,
    Panicked,
    /// It is being migrated, saved or restored.
    Migrating,
    /// It was migrated, and runs on another host.
    Migrated,
    Other,
}

impl RunState {
    /// Parses QEMU's own word.
    pub(crate) fn parse(word: &str) -> RunState {
        match word {
            "running" => RunState::Running,
            "paused" | "debug" => RunState::Paused,
            "io-error" => RunState::IoError,
            "internal-error" | "watchdog" => RunState::InternalError,
            "shutdown" => RunState::ShutDown,
            "suspended" => RunState::Suspended,
            "prelaunch" => RunState::Prelaunch,
            "guest-panicked" => RunState::Panicked,
            "inmigrate" | "finish-migrate" | "save-vm" | "restore-vm" | "colo" => {
                RunState::Migrating
            }
            "postmigrate" => RunState::Migrated,
            _ => RunState::Other,
        }
    }
}

/// The gate's verdict without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VmState {
    Running,
    Stopped,
    MonitorDead,
    Unkillable,
    Locked,
    HaManaged,
    Unknown,
}

impl From<&Verdict> for VmState {
    fn from(verdict: &Verdict) -> VmState {
        match verdict {
            Verdict::Running => VmState::Running,
            Verdict::Stopped => VmState::Stopped,
            Verdict::MonitorDead => VmState::MonitorDead,
            Verdict::Unkillable => VmState::Unkillable,
            Verdict::Locked(_) => VmState::Locked,
            Verdict::HaManaged => VmState::HaManaged,
            Verdict::Unknown(_) => VmState::Unknown,
        }
    }
}

/// The result of one probe of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostSign {
    /// It was not probed, was not reached, or the answer did not come from a gate.
    Unknown,
    /// The gate's report.
    Reported(MachineReport),
}

/// The gate's report of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MachineReport {
    pub(crate) vm: VmState,
    /// Missing if QEMU did not report it, or the gate is an older one.
    pub(crate) run_state: Option<RunState>,
    /// The guest is on another host.
    pub(crate) is_elsewhere: bool,
    /// A lock, a task or a migration is working on it.
    pub(crate) is_busy: bool,
    pub(crate) is_frozen: bool,
}

impl MachineReport {
    pub(crate) fn new(verdict: &Verdict, measurement: Option<&Measurement>) -> MachineReport {
        let has = |test: fn(&Machine) -> bool| {
            measurement.is_some_and(|measurement| test(&measurement.machine))
        };
        let vm = VmState::from(verdict);
        let is_suspended = matches!(vm, VmState::Locked | VmState::Stopped)
            && measurement.is_some_and(Measurement::is_suspended_to_disk)
            && has(|machine| machine.job.is_none());
        if is_suspended {
            return MachineReport {
                vm: VmState::Unknown,
                run_state: Some(RunState::Suspended),
                is_elsewhere: has(|machine| machine.elsewhere.is_some()),
                is_busy: false,
                is_frozen: false,
            };
        }
        let run_state = measurement
            .and_then(|measurement| measurement.machine.run_state.as_deref())
            .map(RunState::parse);
        MachineReport {
            vm,
            run_state,
            is_elsewhere: has(|machine| machine.elsewhere.is_some())
                || run_state == Some(RunState::Migrated),
            is_busy: vm == VmState::Locked
                || has(|machine| machine.lock.is_some() || machine.job.is_some())
                || run_state == Some(RunState::Migrating),
            is_frozen: has(|machine| machine.frozen == Some(true)),
        }
    }
}

/// A value with its age, by a clock that never jumps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tracked<T> {
    pub(crate) value: T,
    since: Instant,
    last_seen: Instant,
    /// The number of probes in a row that saw it.
    pub(crate) probes: u32,
}

impl<T: Copy + PartialEq> Tracked<T> {
    pub(crate) fn new(value: T, now: Instant) -> Tracked<T> {
        Tracked {
            value,
            since: now,
            last_seen: now,
            probes: 0,
        }
    }

    /// Records one more probe; `is_same`: whether its value continues the last one.
    pub(crate) fn record(&mut self, value: T, is_same: bool, now: Instant) {
        if !is_same || self.probes == 0 {
            *self = Tracked::new(value, now);
        }
        self.value = value;
        self.last_seen = now;
        self.probes = self.probes.saturating_add(1);
    }

    pub(crate) fn sign(&self, now: Instant) -> Sign<T> {
        Sign {
            value: self.value,
            lasted_s: self.last_seen.duration_since(self.since).as_secs(),
            age: now.saturating_duration_since(self.last_seen),
            probes: self.probes,
        }
    }
}

/// A sign as the rules use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sign<T> {
    pub(crate) value: T,
    /// Seconds from the first probe that saw it to the last.
    pub(crate) lasted_s: u64,
    /// Time since the last probe.
    pub(crate) age: Duration,
    /// The number of probes in a row that saw it.
    pub(crate) probes: u32,
}

impl<T> Sign<T> {
    /// Whether at least two probes saw it, over at least `seconds`.
    pub(crate) const fn has_lasted(&self, seconds: u64) -> bool {
        self.probes >= 2 && self.lasted_s >= seconds
    }
}
