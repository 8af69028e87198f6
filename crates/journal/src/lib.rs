//! The incident log: everything that anyone does, as one ordered, replayable, provable log.

#![forbid(unsafe_code)]

mod actor;
mod attach;
mod canonical;
mod chain;
pub mod clock;
mod error;
mod event;
mod follow;
mod frame;
mod health;
mod journal;
mod live;
mod machine;
mod options;
mod outlet;
mod recover;
mod store;
mod summary;
mod text;
mod verify;

pub use actor::Actor;
pub use attach::Attachment;
pub use error::JournalError;
pub use event::*;
pub use follow::{Selection, Unrecorded};
pub use frame::*;
pub use journal::Journal;
pub use machine::Machine;
pub use options::{LineSink, MAX_EVENT_BYTES, MAX_KEY_BYTES, Options};
pub use summary::{IncidentSummary, Recovered};
pub use text::{bounded, visible};
pub use verify::{Fault, VerifiedIncident, VerifyError, VerifyReport, verify};
