//! The host side of a power verb, behind `command="…",restrict` in the host's authorized_keys.
//!
//! ```text
//!  SSH_ORIGINAL_COMMAND ─▶ table of verbs ─▶ worker ─▶ forensics ─▶ steps ─▶ evidence ─▶ verdict ─▶ exit code
//!                              │ no entry  (own session,           (driver)  (/proc, QMP)
//!                              ▼            survives the channel)
//!                           refused, 2
//! ```
//!
//! The gate serves one guest, fixed by a root-owned policy file. No argument from outside reaches a
//! program: the request selects an entry of a closed table and is then discarded. The result of a
//! verb is determined from evidence that the gate gathers itself, never from an exit code.
//!
//! [`serve`] is this path without the worker. It knows the hypervisor only as a [`Driver`], so a
//! drill can run it on a simulated one. [`run`] is the program: policy, log, the real driver, and
//! the worker for mutating verbs.
//!
//! To audit it, read in this order: `command`, `worker`, `serve`, `steps`, `verdict`, `driver/qm`,
//! `child`.

#![forbid(unsafe_code)]

mod child;
mod command;
mod context;
mod deadline;
mod driver;
mod file;
mod forensics;
mod frame;
mod host_log;
mod output;
mod png;
mod policy;
mod probe_process;
mod run_dir;
mod serve;
mod steps;
mod text;
mod verdict;
mod vitals;
mod worker;

pub use command::run;
pub use context::Context;
pub use driver::{
    Action, Driver, Evidence, Failure, HighAvailability, Location, Lock, Monitor, Probe, Process,
    Qemu, RunState, WayBack, qm::QmDriver, virsh::VirshDriver,
};
pub use host_log::{ClientRequest, FileHostLog, HostLog, NoHostLog};
pub use output::{Output, Streams};
pub use policy::{DriverKind, Limits, Paths, Policy, PolicyError, Retention};
pub use serve::serve;
pub use verdict::judge;
