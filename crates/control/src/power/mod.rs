//! Power: the path from a permit to the gate.
//!
//! ```text
//!   permit ─▶ queue (pure: admit, replay or refuse) ─▶ runner (one owned task) ─▶ gate
//!                                                       │
//!                                                       └─▶ operation (what can be asked), log
//! ```
//! The runner acts first and writes second: a log that is slow, full or broken never delays a
//! verb, it only leaves a gap that says so.

pub(crate) mod conduct;
mod direct;
mod operation;
pub(crate) mod queue;
pub(crate) mod runner;
pub(crate) mod scribe;
pub(crate) mod table;

pub use conduct::{Conclusion, LONGEST};
pub use direct::direct;
pub use operation::{
    Accepted, IdempotencyKey, KeyFormat, OperationKind, OperationState, OperationView, OutputLine,
};
pub use table::Operation;
