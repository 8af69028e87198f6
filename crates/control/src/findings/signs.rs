//! What the rules decide on: typed, with how long it has lasted and how often it was seen.

use std::time::Duration;

use breakglass_model::Machine;
use breakglass_verbs::Verdict;
use tokio::time::Instant;

/// Whether something answers where the guest's SSH should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    /// It has not been asked, or could not be.
    Unknown,
    /// It may still answer.
    Waiting,
    /// It runs commands.
    Answers,
    /// It answers and runs nothing, refuses the key, or shows another host key.
    Strange,
    /// It does not answer.
    Silent,
    /// Its kernel answers that nothing listens.
    Refused,
}

impl Guest {
    pub(crate) const fn answers(self) -> bool {
        matches!(self, Guest::Answers | Guest::Strange)
    }

    pub(crate) const fn is_silent(self) -> bool {
        matches!(self, Guest::Silent | Guest::Refused)
    }
}

/// A run state in QEMU's words.
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
    /// Being moved, saved or restored.
    Moving,
    /// Moved: it runs elsewhere.
    Moved,
    Other,
}

impl RunState {
    pub(crate) fn read(word: &str) -> RunState {
        match word {
            "running" => RunState::Running,
            "paused" | "debug" => RunState::Paused,
            "io-error" => RunState::IoError,
            "internal-error" | "watchdog" => RunState::InternalError,
            "shutdown" => RunState::ShutDown,
            "suspended" => RunState::Suspended,
            "prelaunch" => RunState::Prelaunch,
            "guest-panicked" => RunState::Panicked,
            "inmigrate" | "finish-migrate" | "save-vm" | "restore-vm" | "colo" => RunState::Moving,
            "postmigrate" => RunState::Moved,
            _ => RunState::Other,
        }
    }
}

/// The verdict without its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Stopped,
    MonitorDead,
    Unkillable,
    Locked,
    HaManaged,
    Unknown,
}

impl Standing {
    const fn is_locked_or_off(self) -> bool {
        matches!(self, Standing::Locked | Standing::Stopped)
    }
}

/// Whether it carries that mark and has no process.
fn sleeps(machine: &Machine) -> bool {
    let kind = machine
        .lock
        .as_deref()
        .and_then(|lock| lock.split(' ').next());
    kind == Some("suspended") && machine.pid.is_none()
}

impl From<&Verdict> for Standing {
    fn from(verdict: &Verdict) -> Standing {
        match verdict {
            Verdict::Running => Standing::Running,
            Verdict::Stopped => Standing::Stopped,
            Verdict::MonitorDead => Standing::MonitorDead,
            Verdict::Unkillable => Standing::Unkillable,
            Verdict::Locked(_) => Standing::Locked,
            Verdict::HaManaged => Standing::HaManaged,
            Verdict::Unknown(_) => Standing::Unknown,
        }
    }
}

/// What one look at the machine gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// It has not been asked, was not reached, or what answered is no gate.
    Unknown,
    /// The gate told.
    Told(Told),
}

/// What the gate told of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) standing: Standing,
    /// Missing where QEMU did not tell, or the gate is an older one.
    pub(crate) run: Option<RunState>,
    /// Another host has it.
    pub(crate) elsewhere: bool,
    /// A lock, a task or a migration works on it.
    pub(crate) held: bool,
    pub(crate) frozen: bool,
}

impl Told {
    pub(crate) fn new(verdict: &Verdict, machine: Option<&Machine>) -> Told {
        let run = machine.and_then(|machine| machine.run_state.as_deref());
        let run = run.map(RunState::read);
        let standing = Standing::from(verdict);
        let has = |told: fn(&Machine) -> bool| machine.is_some_and(told);
        // Proxmox's mark of a guest that sleeps on its disk is a lock that only its start takes off.
        if standing.is_locked_or_off() && has(|machine| sleeps(machine) && machine.job.is_none()) {
            return Told {
                standing: Standing::Unknown,
                run: Some(RunState::Suspended),
                elsewhere: has(|machine| machine.elsewhere.is_some()),
                held: false,
                frozen: false,
            };
        }
        Told {
            standing,
            run,
            elsewhere: has(|machine| machine.elsewhere.is_some()) || run == Some(RunState::Moved),
            held: standing == Standing::Locked
                || has(|machine| machine.lock.is_some() || machine.job.is_some())
                || run == Some(RunState::Moving),
            frozen: has(|machine| machine.frozen == Some(true)),
        }
    }
}

/// A sign with its age, by a clock that never jumps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lasting<T> {
    pub(crate) what: T,
    since: Instant,
    seen: Instant,
    /// How often it was seen in a row.
    pub(crate) looks: u32,
}

impl<T: Copy + PartialEq> Lasting<T> {
    pub(crate) fn new(what: T, now: Instant) -> Lasting<T> {
        Lasting {
            what,
            since: now,
            seen: now,
            looks: 0,
        }
    }

    /// One more look; `same`: whether it is still what it was.
    pub(crate) fn see(&mut self, what: T, same: bool, now: Instant) {
        if !same || self.looks == 0 {
            *self = Lasting::new(what, now);
        }
        *self = Lasting {
            what,
            since: self.since,
            seen: now,
            looks: self.looks.saturating_add(1),
        };
    }

    pub(crate) fn sign(&self, now: Instant) -> Sign<T> {
        Sign {
            what: self.what,
            lasts: self.seen.duration_since(self.since).as_secs(),
            age: now.saturating_duration_since(self.seen),
            looks: self.looks,
        }
    }
}

/// A sign as a rule sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sign<T> {
    pub(crate) what: T,
    /// From the first look that saw it to the last, in seconds.
    pub(crate) lasts: u64,
    /// How long ago the last look was.
    pub(crate) age: Duration,
    /// How often it was seen in a row.
    pub(crate) looks: u32,
}

impl<T> Sign<T> {
    /// Seen at least twice, over that many seconds.
    pub(crate) const fn holds(&self, seconds: u64) -> bool {
        self.looks >= 2 && self.lasts >= seconds
    }
}
