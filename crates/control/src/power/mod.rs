//! Power: the path from a permit to the gate.
//!
//! ```text
//!   request (with its permit) ─▶ admission (pure: admit, replay or refuse) ─▶ runner (one owned task) ─▶ invoke ─▶ gate
//!                                                                              ├─▶ table (state and output)
//!                                                                              └─▶ placement, event_writer ─▶ log
//! ```
//! The runner acts first and records second: a log that is slow, full or broken never delays a
//! verb. It only leaves a gap, and the gap is recorded.

pub(crate) mod admission;
mod direct;
pub(crate) mod event_writer;
mod operation;
pub(crate) mod placement;
mod request;
pub(crate) mod runner;
pub(crate) mod table;

pub use crate::invoke::{VERB_FOLLOW_TIMEOUT, VERB_TIMEOUT_MAX, VerbResult};
pub use direct::direct;
pub use operation::{Accepted, OperationKind, OperationState, OperationView, OutputLine};
pub use request::{IdempotencyKey, KeyFormat, OperationAction, OperationRequest};
pub use table::Operation;
