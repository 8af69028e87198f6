//! What the gate needs of a hypervisor: where QEMU is, a way to ask it, and five changes.
//!
//! A driver only acts and looks. What the evidence means, what comes next in a cycle, how long each
//! step may take and what the operator is told is decided by the gate, the same for every driver.

pub(crate) mod drives;
pub(crate) mod evidence;
pub(crate) mod ground;
pub(crate) mod proc;
pub(crate) mod pve;
pub(crate) mod qga;
pub(crate) mod qm;
pub(crate) mod qmp;
pub(crate) mod sections;
pub(crate) mod state;
pub(crate) mod tasks;
pub(crate) mod virsh;
pub(crate) mod way_back;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

pub use evidence::{Evidence, Lock, Monitor, Process, Qemu};
pub use state::RunState;
pub use way_back::{Ha, Home, WayBack};

use crate::child::Broken;
use crate::file;

/// One guest on one hypervisor. Every call returns within its `limit`, whatever hangs; those
/// without one return at once.
pub trait Driver: Send {
    /// The guest's QEMU process, by the kernel's word and not by the hypervisor's tool's.
    fn find(&mut self) -> Qemu;

    /// Gives QEMU's monitor (QMP) one command, with `arguments` or null, and returns the value of
    /// its answer's `return`.
    ///
    /// # Errors
    /// A sentence: the monitor's own error, or why there was no answer.
    fn ask(&mut self, command: &str, arguments: Value, limit: Duration) -> Result<Value, String>;

    /// Why QEMU's monitor can't be asked at all, where the only way to it is through a daemon, and
    /// that does not answer. Asked when the monitor was silent.
    fn cut_off(&mut self, _limit: Duration) -> Option<String> {
        None
    }

    /// The same driver once more, so that what the hypervisor knows is asked beside the monitor. None
    /// where nothing is gained by that.
    fn twin(&self) -> Option<Box<dyn Driver>> {
        None
    }

    /// Who holds the hypervisor's own lock on its work at the guest, as a sentence; it ends with its
    /// holder.
    fn held(&mut self) -> Option<String> {
        None
    }

    /// Adds what only the hypervisor knows to what was `seen`: lock, staged configuration, high
    /// availability, the job of a backup, where the guest lives, and whether it could be started again.
    /// What can't be asked becomes a note. A driver that says nothing of the way back has none: the gate
    /// cycles no guest of its.
    fn settings(&mut self, seen: &mut Evidence, limit: Duration);

    /// Asks the hypervisor for one change; returns what its tool printed.
    ///
    /// # Errors
    /// When the tool failed or ran out of time. That is a hint, not the verdict.
    fn act(&mut self, action: Action, limit: Duration) -> Result<String, Failure>;

    /// Ends `process` itself, past the hypervisor: by SIGKILL if `hard`, else by SIGTERM. Another
    /// process that has its number meanwhile is left alone.
    ///
    /// # Errors
    /// A sentence.
    fn signal(&mut self, process: Process, hard: bool) -> Result<(), String> {
        proc::signal(process, hard)
    }

    /// The guest's screen, as PPM (P6) or PNG.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    fn screen(&mut self, limit: Duration) -> Result<Vec<u8>, String>;

    /// What this hypervisor has to tell beyond monitor, screen, host and process: its name, fit for
    /// a file name, and how to get it.
    fn probes(&mut self) -> Vec<(&'static str, Probe)>;

    /// The content of a file of the host's kernel, such as `/proc/pressure/io`.
    ///
    /// # Errors
    /// A sentence.
    fn host(&mut self, file: &str, limit: Duration) -> Result<String, String> {
        file::end(&PathBuf::from(file), limit)
    }

    /// The probes of host and process that a simulated host can't have.
    fn probes_of_host(&mut self, process: Option<Process>) -> Vec<(&'static str, Probe)> {
        crate::forensics::of_host(process)
    }
}

/// A change that only the hypervisor can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A fresh QEMU process.
    Start,
    /// The end of the QEMU process, the clean way. Success on a stopped guest.
    Stop,
    /// Warm reset within the same QEMU process.
    Reset,
    /// Lets a guest go on that is paused, or stands before its first instruction.
    Resume,
    /// Wakes a guest that sleeps (S3).
    Wake,
    /// Lifts a lock for which [`Lock::ours`] is true.
    Unlock,
}

/// How a piece of evidence is got. The gate bounds it in time and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The end of a file.
    File(PathBuf),
    /// The standard output of a program, by its absolute path, with these arguments.
    Run(PathBuf, Vec<String>),
    /// State and kernel wait channel of each thread of a process.
    Threads(u32),
    /// What the driver knows already, or why it does not.
    Known(Result<String, String>),
}

/// Why a change did not go through, by the word of the tool that was asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// What happened, as a sentence for the operator.
    pub message: String,
    /// Whether the same command is known to work when it is given once more.
    pub passing: bool,
    /// The lock that forbade it, by name (`backup`), where it was one.
    pub lock: Option<String>,
    /// Whether that is the lock that ends with its holder, so that it is worth waiting for.
    pub is_busy: bool,
    /// Whether the tool was ended at its deadline: what it began may still come.
    pub is_late: bool,
    /// Whether high availability was asked for it and has not done it yet: the request stays.
    pub requested: bool,
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Failure {
        Failure {
            message: broken.words,
            is_late: broken.is_late,
            ..Failure::default()
        }
    }
}

impl From<String> for Failure {
    /// A failure that neither passes by itself nor is due to a lock.
    fn from(message: String) -> Failure {
        Failure {
            message,
            ..Failure::default()
        }
    }
}
