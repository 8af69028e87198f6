//! Everything that touches guest or host: SSH, permits, the power queue, checks, vital signs.
//!
//! Knows nothing of the agent, so that power works with no model anywhere.
//!
//! ```text
//! button ─ permit ─ power::queue ─ power::runner ─ ssh::pool ─ gate
//!                    (decides)        (acts)          │
//!                         checks, vitals ─────────────┴────── guest
//! ```

#![forbid(unsafe_code)]

mod checks;
mod closing;
mod control;
mod findings;
mod permit;
pub mod power;
mod screen;
pub mod ssh;
mod target;
mod text;
mod vitals;

pub use checks::Check;
pub use closing::CloseRefusal;
pub use control::Control;
pub use permit::{Permit, Refusal};
pub use power::{Accepted, IdempotencyKey, OperationView};
pub use screen::NoPicture;
pub use ssh::{HostKeyPolicy, SshOptions};
pub use target::{Endpoint, Target};
