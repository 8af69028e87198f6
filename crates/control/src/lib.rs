//! Everything that touches guest or host: SSH, permits, the power queue, checks, vital signs.
//!
//! Knows nothing of the agent, so that power works with no model anywhere.
//!
//! ```text
//! button ─ permit ─ power::queue ─ power::runner ─ ssh::pool ─ gate
//!                    (decides)        (acts)          │
//!                         checks, vitals ─────────────┴────── guest
//! agent ─ bastion ─ (policy, approvals, record) ─ power::queue, or relayed to the guest
//! ```

#![forbid(unsafe_code)]

mod agent_port;
mod checks;
mod closing;
mod control;
mod findings;
mod machine;
mod permit;
mod pictures;
pub mod power;
mod screen;
pub mod ssh;
mod target;
mod text;
mod vitals;

pub use agent_port::{AgentPort, AgentTarget};
pub use checks::Check;
pub use closing::{CloseRefusal, LAST_MEASURED, measured};
pub use control::Control;
pub use permit::{Permit, Refusal};
pub use pictures::Pictures;
pub use power::{Accepted, IdempotencyKey, OperationView};
pub use screen::NoPicture;
pub use ssh::{HostKeyPolicy, SshOptions};
pub use target::{Endpoint, Target};
