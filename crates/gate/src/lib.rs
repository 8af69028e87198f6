//! The host side of a power verb, behind `command="…",restrict` in the host's authorized_keys.
//!
//! ```text
//!  SSH_ORIGINAL_COMMAND ─▶ table of verbs ─▶ forensics ─▶ driver ─▶ evidence ─▶ verdict ─▶ exit code
//!                              │ no entry                 (qm)      (/proc, QMP)
//!                              ▼
//!                           refused, 2
//! ```
//!
//! One guest, fixed by a root-owned policy file. No argument from outside ever reaches a program:
//! the request selects an entry of a closed table and is then thrown away. What a verb did is told
//! from evidence that the gate gathers itself, never from an exit code.
//!
//! [`serve`] is that whole path and knows the hypervisor only as a [`Driver`], so a drill can run
//! it on a simulated one. [`run`] is the program: policy, journal and the real driver around it.
//!
//! To audit it, read in this order: `command`, `serve`, `ladder`, `verdict`, `driver/qm`, `child`.

#![forbid(unsafe_code)]

mod child;
mod command;
mod driver;
mod journal;
mod ladder;
mod limits;
mod output;
mod policy;
mod probe;
mod serve;
mod text;
mod utc;
mod verdict;

pub use command::run;
pub use driver::{Driver, Evidence, Failure, Monitor, Process, Qemu, qm::QmDriver};
pub use journal::{Decision, Entry, FileJournal, Journal, Silent};
pub use limits::Limits;
pub use output::{Output, Streams};
pub use policy::{Policy, PolicyError};
pub use probe::Probe;
pub use serve::{Context, serve};
pub use verdict::judge;
