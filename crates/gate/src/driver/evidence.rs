//! What the gate has observed of a guest at one moment, as lines for people and as JSON.

use serde_json::{Value, json};

use super::run_state::RunState;
use super::way_back::{HighAvailability, Location, WayBack};
use crate::text::{self, LINE_MAX_CHARS};

/// Observations of the guest. Empty by default: no process, nothing else known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The QEMU process.
    pub qemu: Qemu,
    /// The answer of QEMU's monitor.
    pub monitor: Monitor,
    /// The lock in the guest's configuration.
    pub lock: Option<Lock>,
    /// The hypervisor's task that is working on the guest (a backup, a snapshot, a migration), as a
    /// sentence. It need not hold a lock.
    pub job: Option<String>,
    /// The holder of the hypervisor's file lock on the guest, as a sentence. Unlike [`Lock`] it is
    /// released when its holder ends.
    pub flock_holder: Option<String>,
    /// Whether a backup has frozen the guest's file systems, according to the guest agent. Only
    /// asked if there is a lock or a job; none if unknown.
    pub frozen: Option<bool>,
    /// Whether high availability decides when the guest runs.
    pub ha: HighAvailability,
    /// Where the guest's configuration is.
    pub location: Location,
    /// Whether the guest could be started again after its end.
    pub way_back: WayBack,
    /// Whether a reset ends QEMU instead of rebooting the guest.
    pub reset_ends_qemu: bool,
    /// Configuration that only a new QEMU process applies, one `key: value` each. If it is not
    /// empty, the guest needs a cycle instead of a reset.
    pub staged: Vec<String>,
    /// Further sentences for the operator, such as what could not be determined, and why.
    pub notes: Vec<String>,
}

/// Whether the guest has a QEMU process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Qemu {
    /// There is no process.
    #[default]
    Absent,
    /// There is this process.
    Alive(Process),
    /// It can't be determined. Carries the reason.
    Unknown(String),
}

/// A process. Its start time distinguishes it from a later process with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The start time in clock ticks (hundredths of a second) since the host booted.
    pub started: u64,
    /// The state, as one letter of `/proc/PID/stat`: `R`, `S`, `D` (can't be killed), `T`, `Z`.
    pub state: char,
}

/// The answer of QEMU's monitor (QMP) to the question for the run state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Monitor {
    /// There was no process to ask.
    #[default]
    NotAsked,
    /// It did not answer. Carries the reason.
    Silent(String),
    /// The daemon in front of it does not answer, so nothing can be asked or changed. Carries the
    /// reason.
    Unreachable(String),
    /// The run state.
    State(RunState),
}

/// A lock that forbids changes to the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Its name: `backup`, `migrate`, …
    pub kind: String,
    /// A sentence about its holder, or that none was found.
    pub holder: String,
    /// Whether an interrupted power action left it behind, so that [`super::Action::Unlock`] may
    /// remove it.
    pub is_left_over: bool,
}

impl Evidence {
    /// The run state, if the monitor reported it.
    #[must_use]
    pub fn run_state(&self) -> Option<&RunState> {
        match &self.monitor {
            Monitor::State(state) => Some(state),
            Monitor::NotAsked | Monitor::Silent(_) | Monitor::Unreachable(_) => None,
        }
    }

    /// The QEMU process, if there is one.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        match self.qemu {
            Qemu::Alive(process) => Some(process),
            Qemu::Absent | Qemu::Unknown(_) => None,
        }
    }

    /// Whether `earlier` is certainly gone: there is no process now, or another one.
    #[must_use]
    pub fn is_gone(&self, earlier: Process) -> bool {
        match &self.qemu {
            Qemu::Absent => true,
            Qemu::Alive(now) => (now.pid, now.started) != (earlier.pid, earlier.started),
            Qemu::Unknown(_) => false,
        }
    }

    /// One line for each observation, for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![match &self.qemu {
            Qemu::Absent => "qemu: no process".to_owned(),
            Qemu::Alive(p) => format!("qemu: process {}, state {}", p.pid, p.state),
            Qemu::Unknown(why) => format!("qemu: unknown: {why}"),
        }];
        match &self.monitor {
            Monitor::NotAsked => {}
            Monitor::Silent(why) => lines.push(format!("monitor: no answer: {why}")),
            Monitor::Unreachable(why) => lines.push(format!("monitor: can't be reached: {why}")),
            Monitor::State(state) => lines.push(format!("monitor: {state}")),
        }
        let remedy = self.run_state().map_or("", RunState::remedy);
        if !remedy.is_empty() {
            lines.push(format!("remedy: {remedy}"));
        }
        lines.extend(self.work_lines());
        match &self.location {
            Location::ThisHost => {}
            Location::OtherNode(node) => {
                lines.push(format!("home: not on this host; on {node}"));
            }
            Location::Gone => lines.push("home: nowhere; its configuration is gone".to_owned()),
        }
        if let WayBack::Missing(why) = &self.way_back {
            lines.push(format!("way back: none; {why}"));
        }
        match &self.ha {
            HighAvailability::NotManaged => {}
            HighAvailability::Managed(state) => lines.push(format!(
                "ha: managed, requested state {state}; start and stop are requests, which high \
                 availability carries out"
            )),
            HighAvailability::Unknown(why) => lines.push(format!("ha: unknown: {why}")),
        }
        lines.extend(self.staged.iter().map(|change| format!("staged: {change}")));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines
    }

    /// The lines about locks and jobs.
    fn work_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Lock { kind, holder, .. }) = &self.lock {
            lines.push(format!("lock: {kind} ({holder})"));
        }
        lines.extend(self.job.iter().map(|job| format!("job: {job}")));
        let holder = self.flock_holder.iter();
        lines.extend(holder.map(|holder| format!("held: by {holder}")));
        if let Some(frozen) = self.frozen {
            let word = if frozen { "frozen" } else { "not frozen" };
            lines.push(format!(
                "file systems: {word}, according to the guest agent"
            ));
        }
        lines
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let short = |text: &String| text::visible(text, LINE_MAX_CHARS);
        let all = |texts: &[String]| texts.iter().map(short).collect::<Vec<_>>();
        let monitor_error = match &self.monitor {
            Monitor::Silent(why) | Monitor::Unreachable(why) => Some(short(why)),
            Monitor::NotAsked | Monitor::State(_) => None,
        };
        let other_node = match &self.location {
            Location::OtherNode(node) => Some(short(node)),
            Location::ThisHost | Location::Gone => None,
        };
        let process = |p: Process| json!({ "pid": p.pid, "started": p.started, "state": p.state });
        let lock = |l: &Lock| json!({ "kind": short(&l.kind), "holder": short(&l.holder) });
        json!({
            "run_state": self.run_state().map(ToString::to_string),
            "monitor_error": monitor_error,
            "qemu": self.process().map(process),
            "lock": self.lock.as_ref().map(lock),
            "job": self.job.as_ref().map(short),
            "held": self.flock_holder.as_ref().map(short),
            "frozen": self.frozen,
            "ha_managed": self.ha.is_managed(),
            "elsewhere": other_node,
            "no_way_back": self.way_back.proof().err().as_ref().map(short),
            "staged": all(&self.staged),
            "notes": all(&self.notes),
        })
    }
}
