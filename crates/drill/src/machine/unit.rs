use super::clock::Moment;
use super::process::Footprint;

/// What systemd knows of a service before it runs: its unit file.
#[derive(Debug, Clone)]
pub(crate) struct UnitFile {
    /// With its `.service`.
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) command: &'static str,
    pub(crate) user: &'static str,
    pub(crate) footprint: Footprint,
    /// Tenths of a percent of one processor.
    pub(crate) cpu: u32,
    /// Bytes that must be free on the disk for it to start.
    pub(crate) needs_disk: u64,
}

/// A service, and how it fares.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) file: UnitFile,
    pub(crate) state: UnitState,
}

/// How a service fares, since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitState {
    Active {
        pid: u32,
        since: Moment,
    },
    Inactive {
        since: Moment,
    },
    Failed {
        pid: u32,
        since: Moment,
        why: Failure,
    },
}

/// How a service came to fail, in systemd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    ExitCode,
    OomKill,
    Signal,
}

impl Failure {
    pub(crate) const fn result(self) -> &'static str {
        match self {
            Failure::ExitCode => "exit-code",
            Failure::OomKill => "oom-kill",
            Failure::Signal => "signal",
        }
    }

    /// How the main process ended, as `systemctl status` prints it.
    pub(crate) const fn exit(self) -> &'static str {
        match self {
            Failure::ExitCode => "code=exited, status=1/FAILURE",
            Failure::OomKill | Failure::Signal => "code=killed, signal=KILL",
        }
    }
}

impl Unit {
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.state, UnitState::Active { .. })
    }

    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.state, UnitState::Failed { .. })
    }

    /// Active and sub state, as `list-units` prints them.
    pub(crate) fn states(&self) -> (&'static str, &'static str) {
        match self.state {
            UnitState::Active { .. } => ("active", "running"),
            UnitState::Inactive { .. } => ("inactive", "dead"),
            UnitState::Failed { .. } => ("failed", "failed"),
        }
    }

    /// The word before the brackets in the service's log lines.
    pub(crate) fn identifier(&self) -> &'static str {
        self.file.name.trim_end_matches(".service")
    }
}
