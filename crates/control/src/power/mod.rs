//! Power: the path from a permit to the gate.
//!
//! ```text
//!   permit ─▶ queue (pure: admit, replay or refuse) ─▶ runner (one owned task) ─▶ gate
//!                                                       │
//!                                                       └─▶ operation (what can be asked), log
//! ```
//! The runner acts first and writes second: a log that is slow, full or broken never delays a
//! verb, it only leaves a gap that says so.

mod operation;

pub use operation::{
    Accepted, IdempotencyKey, KeyFormat, OperationKind, OperationState, OperationView, OutputLine,
};
