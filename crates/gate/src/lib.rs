//! The host side of a power verb, behind `command="…",restrict` in the host's authorized_keys.
//!
//! ```text
//!  SSH_ORIGINAL_COMMAND ─▶ table of verbs ─▶ worker ─▶ forensics ─▶ ladder ─▶ evidence ─▶ verdict ─▶ exit code
//!                              │ no entry  (own session,            (driver)  (/proc, QMP)
//!                              ▼            outlives the channel)
//!                           refused, 2
//! ```
//!
//! One guest, fixed by a root-owned policy file. No argument from outside ever reaches a program:
//! the request selects an entry of a closed table and is then thrown away. What a verb did is told
//! from evidence that the gate gathers itself, never from an exit code.
//!
//! [`serve`] is that path without the worker and knows the hypervisor only as a [`Driver`], so a
//! drill can run it on a simulated one. [`run`] is the program: policy, journal, the real driver, and
//! for mutating verbs the worker.
//!
//! To audit it, read in this order: `command`, `run`, `serve`, `ladder`, `verdict`, `driver/qm`,
//! `child`.

#![forbid(unsafe_code)]

mod child;
mod command;
mod driver;
mod file;
mod forensics;
mod journal;
mod ladder;
mod output;
mod png;
mod policy;
mod relay;
mod run;
mod serve;
mod text;
mod verdict;
mod vitals;

pub use command::run;
pub use driver::{
    Action, Driver, Evidence, Failure, Ha, Home, Lock, Monitor, Probe, Process, Qemu, RunState,
    WayBack, qm::QmDriver, virsh::VirshDriver,
};
pub use journal::{Asked, FileJournal, Journal, Silent};
pub use output::{Output, Streams};
pub use policy::{Keep, Kind, Limits, Paths, Policy, PolicyError};
pub use serve::{Context, serve};
pub use verdict::judge;
