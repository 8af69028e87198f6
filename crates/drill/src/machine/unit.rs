use serde::Deserialize;

use super::clock::Moment;
use super::process::Footprint;

/// A service's unit file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitFile {
    /// With the suffix `.service`.
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) command: String,
    pub(crate) user: String,
    pub(crate) memory: Footprint,
    /// Tenths of a percent of one processor.
    pub(crate) cpu: u32,
    /// Mebibytes that must be free on the disk for the service to start.
    #[serde(default)]
    pub(crate) needs_disk: u64,
}

/// A service and its state.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) file: UnitFile,
    pub(crate) state: UnitState,
    /// When the state last changed.
    pub(crate) since: Moment,
    /// The PID of the last main process; 0 if there was none.
    pub(crate) main_pid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitState {
    Active,
    Inactive,
    Failed(Failure),
}

/// Why a service failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    ExitCode,
    OomKill,
    Signal,
}

impl Failure {
    /// systemd's name for it.
    pub(crate) const fn result(self) -> &'static str {
        match self {
            Failure::ExitCode => "exit-code",
            Failure::OomKill => "oom-kill",
            Failure::Signal => "signal",
        }
    }

    /// How the main process exited, as `systemctl status` prints it.
    pub(crate) const fn exit(self) -> &'static str {
        match self {
            Failure::ExitCode => "code=exited, status=1/FAILURE",
            Failure::OomKill | Failure::Signal => "code=killed, signal=KILL",
        }
    }
}

impl Unit {
    pub(crate) fn is_active(&self) -> bool {
        self.state == UnitState::Active
    }

    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.state, UnitState::Failed(_))
    }

    /// Active state and sub-state, as `list-units` prints them.
    pub(crate) fn states(&self) -> (&'static str, &'static str) {
        match self.state {
            UnitState::Active => ("active", "running"),
            UnitState::Inactive => ("inactive", "dead"),
            UnitState::Failed(_) => ("failed", "failed"),
        }
    }

    /// The name without the suffix `.service`.
    pub(crate) fn identifier(&self) -> &str {
        self.file.name.trim_end_matches(".service")
    }
}
