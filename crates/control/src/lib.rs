//! Everything that touches guest or host: SSH, permits, power, diagnoses, vital signs.
//!
//! Knows nothing of the agent, so that power works with no model anywhere.
//!
//! ```text
//! button ── permit ── power::admission ── power::runner ─┬─ invoke ────── ssh ── gate
//!                        (decides)            (acts)     └─ diagnosis ─── ssh ── guest
//! watcher (one per guest and host) ── ssh ── vitals (state) ── findings (rules) ── log, page
//! bastion ── agent_port ── power::admission, or ssh::upstream to the guest
//! ```

#![forbid(unsafe_code)]

mod agent_port;
mod close;
mod control;
mod diagnosis;
mod findings;
mod handle;
mod invoke;
mod lines;
mod measurement;
mod permit;
mod pictures;
pub mod power;
mod refusal;
mod screenshot;
mod shared;
pub mod ssh;
mod start;
mod target;
mod vitals;
mod watcher;

pub use agent_port::{AgentPort, AgentTarget};
pub use close::{CloseRefusal, LAST_MEASURED};
pub use control::Control;
pub use permit::Permit;
pub use pictures::Pictures;
pub use power::{Accepted, IdempotencyKey, OperationRequest, OperationView};
pub use refusal::Refusal;
pub use screenshot::NoPicture;
pub use ssh::{HostKeyPolicy, SshOptions};
pub use target::{Endpoint, Target};
