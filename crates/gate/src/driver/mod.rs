//! The gate's interface to a hypervisor: QEMU's process, its monitor, and six changes.
//!
//! A driver only observes and acts. The gate decides what the evidence means, which step comes next,
//! how long it may take and what is reported to the operator, in the same way for every driver.

mod cluster;
mod domain_xml;
mod drives;
mod evidence;
mod guest_agent;
mod host_prerequisites;
mod json_socket;
pub(crate) mod observe;
mod probe;
pub(crate) mod process;
pub(crate) mod qm;
mod qmp;
pub(crate) mod run_state;
mod sections;
mod tasks;
pub(crate) mod virsh;
mod way_back;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

pub use evidence::{Evidence, Lock, Monitor, Process, Qemu};
pub use probe::Probe;
pub use run_state::RunState;
pub use way_back::{HighAvailability, Location, WayBack};

use crate::child::ChildError;
use crate::file;

/// One guest on one hypervisor. Every call returns within its `timeout`, whatever hangs; those
/// without one return at once.
pub trait Driver: Send {
    /// Finds the guest's QEMU process, according to the kernel and not to the hypervisor's tool.
    fn find_qemu(&mut self) -> Qemu;

    /// Sends one command to QEMU's monitor (QMP), with `arguments` or null, and returns the
    /// `return` of its answer.
    ///
    /// # Errors
    /// The monitor's own error, or why there was no answer.
    fn query_monitor(
        &mut self,
        command: &str,
        arguments: Value,
        timeout: Duration,
    ) -> Result<Value, String>;

    /// Why QEMU's monitor can't be reached, if the only way to it is a daemon that does not answer.
    /// Called if the monitor was silent.
    fn daemon_error(&mut self, _timeout: Duration) -> Option<String> {
        None
    }

    /// A second driver for the same guest, so that the hypervisor and the monitor can be asked at
    /// the same time. None if that gains nothing.
    fn duplicate(&self) -> Option<Box<dyn Driver>> {
        None
    }

    /// The holder of the hypervisor's file lock on the guest, as a sentence. That lock is released
    /// when its holder ends.
    fn flock_holder(&mut self) -> Option<String> {
        None
    }

    /// Adds what only the hypervisor knows: lock, staged configuration, high availability, running
    /// job, the guest's node, and whether it could be started again. What can't be determined
    /// becomes a note. If a driver adds no way back, the gate does not cycle its guest.
    fn add_hypervisor_evidence(&mut self, evidence: &mut Evidence, timeout: Duration);

    /// Asks the hypervisor for one change; returns the output of its tool.
    ///
    /// # Errors
    /// The tool failed or timed out. This is a hint, not the verdict.
    fn perform(&mut self, action: Action, timeout: Duration) -> Result<String, Failure>;

    /// Ends `process` without the hypervisor: by SIGKILL if `force`, else by SIGTERM. Does nothing
    /// to another process that has been given its id meanwhile.
    ///
    /// # Errors
    /// A sentence.
    fn signal(&mut self, process: Process, force: bool) -> Result<(), String> {
        process::signal(process, force)
    }

    /// The guest's screen, as PPM (P6) or PNG.
    ///
    /// # Errors
    /// Why there is none.
    fn screenshot(&mut self, timeout: Duration) -> Result<Vec<u8>, String>;

    /// The probes that only this hypervisor has. Their names are also file names.
    fn probes(&mut self) -> Vec<(&'static str, Probe)>;

    /// The content of a file of the host's kernel, such as `/proc/pressure/io`.
    ///
    /// # Errors
    /// A sentence.
    fn read_host_file(&mut self, path: &str, timeout: Duration) -> Result<String, String> {
        file::tail(Path::new(path), timeout)
    }

    /// The probes of the host and of QEMU's process. A simulated host overrides them.
    fn host_probes(&mut self, process: Option<Process>) -> Vec<(&'static str, Probe)> {
        probe::host_probes(process)
    }
}

/// A change that only the hypervisor can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Starts a new QEMU process.
    Start,
    /// Ends the QEMU process cleanly. Succeeds for a stopped guest.
    Stop,
    /// Warm reset within the same QEMU process.
    Reset,
    /// Resumes a guest that is paused or has not executed its first instruction.
    Resume,
    /// Wakes a guest that sleeps (S3).
    Wake,
    /// Removes a lock for which [`Lock::is_left_over`] is true.
    Unlock,
}

/// Why a change failed, according to the tool that was asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// A sentence for the operator.
    pub message: String,
    /// Whether the same command is known to succeed if it is repeated.
    pub transient: bool,
    /// The name of the lock that forbade the change (`backup`), if one did.
    pub lock: Option<String>,
    /// Whether that lock is released when its holder ends, so that waiting is worthwhile.
    pub is_busy: bool,
    /// Whether the tool was killed at its timeout. What it began may still take effect.
    pub timed_out: bool,
    /// Whether high availability was asked for the change and has not made it yet. The request
    /// stays registered.
    pub requested: bool,
}

impl From<ChildError> for Failure {
    fn from(error: ChildError) -> Failure {
        Failure {
            message: error.message,
            timed_out: error.timed_out,
            ..Failure::default()
        }
    }
}

impl From<String> for Failure {
    /// A failure that is permanent and not due to a lock.
    fn from(message: String) -> Failure {
        Failure {
            message,
            ..Failure::default()
        }
    }
}
