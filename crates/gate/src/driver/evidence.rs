use std::time::Duration;

use serde_json::{Value, json};

use super::Driver;
use super::state::RunState;
use super::way_back::{Ha, Home, WayBack};
use crate::text;

/// Characters of one text that are passed on to programs.
const LONGEST: usize = 400;

/// What was seen of the guest at one moment. Empty by default: no process, nothing else known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The QEMU process.
    pub qemu: Qemu,
    /// What QEMU's monitor answered.
    pub monitor: Monitor,
    /// The lock on the guest.
    pub lock: Option<Lock>,
    /// The task of the hypervisor that works on the guest now (a backup, a snapshot, a migration), as
    /// a sentence: also where there is no lock.
    pub job: Option<String>,
    /// Who holds the hypervisor's own lock on its work at the guest, as a sentence. Unlike [`Lock`]
    /// it ends with its holder.
    pub held: Option<String>,
    /// Whether a backup holds the guest's file systems frozen, by the guest agent's word; asked only
    /// beside a lock or a job, and none where it is not known.
    pub frozen: Option<bool>,
    /// Whether high availability decides when the guest runs.
    pub ha: Ha,
    /// Where its configuration is.
    pub home: Home,
    /// Whether it could be started again, had it been ended.
    pub way_back: WayBack,
    /// Whether QEMU ends at a reset instead of beginning anew.
    pub reset_ends: bool,
    /// Configuration that waits for a fresh QEMU process, one `key: value` each. Not empty is the
    /// sign that a cycle is wanted, not a reset.
    pub staged: Vec<String>,
    /// Further sentences for the operator, such as what could not be asked, and why.
    pub notes: Vec<String>,
}

/// Whether the guest has a QEMU process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Qemu {
    /// There is none.
    #[default]
    Absent,
    /// There is this one.
    Alive(Process),
    /// It can't be told; holds why.
    Unseen(String),
}

/// A process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, in clock ticks (hundredths of a second) since the host booted.
    pub started: u64,
    /// Its state as one letter of `/proc/PID/stat`: `R`, `S`, `D` (can't be killed), `T`, `Z`.
    pub state: char,
}

/// What QEMU's monitor (QMP) answered when asked for the run state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Monitor {
    /// There was no process to ask.
    #[default]
    NotAsked,
    /// It did not answer; holds why.
    Silent(String),
    /// It can't be asked, nor anything be changed: the daemon in front of it does not answer; holds
    /// why.
    CutOff(String),
    /// The run state.
    Says(RunState),
}

/// Something that forbids changes to the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Its name: `backup`, `migrate`, …
    pub kind: String,
    /// Who holds it, or that nobody is seen to.
    pub holder: String,
    /// Whether a broken-off power action left it, so that [`super::Action::Unlock`] may lift it.
    pub ours: bool,
}

impl Evidence {
    /// Process and monitor: what is asked again and again while waiting for a change.
    pub(crate) fn glance(driver: &mut dyn Driver, limit: Duration) -> Evidence {
        let qemu = driver.find();
        let monitor = match qemu {
            Qemu::Alive(_) => match driver.ask("query-status", Value::Null, limit) {
                Ok(answer) => match answer.get("status").and_then(Value::as_str) {
                    Some(state) => Monitor::Says(state.into()),
                    None => Monitor::Silent("its answer has no run state".to_owned()),
                },
                Err(why) => driver
                    .cut_off(limit)
                    .map_or(Monitor::Silent(why), Monitor::CutOff),
            },
            Qemu::Absent | Qemu::Unseen(_) => Monitor::NotAsked,
        };
        Evidence {
            qemu,
            monitor,
            ..Evidence::default()
        }
    }

    /// The run state, where the monitor tells it.
    #[must_use]
    pub fn run_state(&self) -> Option<&RunState> {
        match &self.monitor {
            Monitor::Says(state) => Some(state),
            Monitor::NotAsked | Monitor::Silent(_) | Monitor::CutOff(_) => None,
        }
    }

    /// The QEMU process, where there is one.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        match self.qemu {
            Qemu::Alive(process) => Some(process),
            Qemu::Absent | Qemu::Unseen(_) => None,
        }
    }

    /// The other host that the guest lives on.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&str> {
        match &self.home {
            Home::On(node) => Some(node),
            Home::Here | Home::Nowhere => None,
        }
    }

    /// Whether `earlier` is certain to be gone: another process, or none, is there now.
    #[must_use]
    pub fn outlived(&self, earlier: Process) -> bool {
        match &self.qemu {
            Qemu::Absent => true,
            Qemu::Alive(now) => (now.pid, now.started) != (earlier.pid, earlier.started),
            Qemu::Unseen(_) => false,
        }
    }

    /// One line for each thing seen, for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![match &self.qemu {
            Qemu::Absent => "qemu: no process".to_owned(),
            Qemu::Alive(p) => format!("qemu: process {}, state {}", p.pid, p.state),
            Qemu::Unseen(why) => format!("qemu: can't be told: {why}"),
        }];
        match &self.monitor {
            Monitor::NotAsked => {}
            Monitor::Silent(why) => lines.push(format!("monitor: no answer: {why}")),
            Monitor::CutOff(why) => lines.push(format!("monitor: can't be asked: {why}")),
            Monitor::Says(state) => lines.push(format!("monitor: {state}")),
        }
        let remedy = self.run_state().map_or("", RunState::remedy);
        if !remedy.is_empty() {
            lines.push(format!("remedy: {remedy}"));
        }
        let lock = |lock: &Lock| format!("lock: {} ({})", lock.kind, lock.holder);
        lines.extend(self.lock.iter().map(lock));
        lines.extend(self.job.iter().map(|job| format!("job: {job}")));
        lines.extend(self.held.iter().map(|held| format!("held: by {held}")));
        if let Some(frozen) = self.frozen {
            let word = if frozen { "frozen" } else { "not frozen" };
            lines.push(format!("file systems: {word}, says the guest agent"));
        }
        match &self.home {
            Home::Here => {}
            Home::On(node) => lines.push(format!("home: not on this host; on {node}")),
            Home::Nowhere => lines.push("home: nowhere; its configuration is gone".to_owned()),
        }
        if let WayBack::Missing(why) = &self.way_back {
            lines.push(format!("way back: none; {why}"));
        }
        match &self.ha {
            Ha::No => {}
            Ha::Managed(state) => lines.push(format!(
                "ha: managed, {state} is requested; a start or a stop is a request, and high \
                 availability decides"
            )),
            Ha::Unknown(why) => lines.push(format!("ha: can't be told: {why}")),
        }
        lines.extend(self.staged.iter().map(|change| format!("staged: {change}")));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let short = |text: &String| text::visible(text, LONGEST);
        let all = |texts: &[String]| texts.iter().map(short).collect::<Vec<_>>();
        let silence = match &self.monitor {
            Monitor::Silent(why) | Monitor::CutOff(why) => Some(short(why)),
            Monitor::NotAsked | Monitor::Says(_) => None,
        };
        let process = |p: Process| json!({ "pid": p.pid, "started": p.started, "state": p.state });
        let lock = |l: &Lock| json!({ "kind": short(&l.kind), "holder": short(&l.holder) });
        json!({
            "run_state": self.run_state().map(ToString::to_string),
            "monitor_error": silence,
            "qemu": self.process().map(process),
            "lock": self.lock.as_ref().map(lock),
            "job": self.job.as_ref().map(short),
            "held": self.held.as_ref().map(short),
            "frozen": self.frozen,
            "ha_managed": self.ha.is_managed(),
            "elsewhere": self.elsewhere().map(|node| text::visible(node, LONGEST)),
            "no_way_back": self.way_back.proven().err().as_ref().map(short),
            "staged": all(&self.staged),
            "notes": all(&self.notes),
        })
    }
}
