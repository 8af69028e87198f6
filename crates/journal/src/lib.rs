//! The incident log: everything that anyone does, as one ordered, replayable, provable log.

#![forbid(unsafe_code)]

mod actor;
mod attach;
mod canonical;
mod chain;
pub mod clock;
mod ended;
mod error;
mod event;
mod export;
mod figures;
mod follow;
mod frame;
mod health;
mod journal;
mod live;
mod machine;
mod options;
mod outlet;
mod recover;
mod retention;
mod store;
mod summary;
mod text;
mod tombstone;
mod verify;
mod walk;

pub use actor::Actor;
pub use attach::Attachment;
pub use ended::EndSink;
pub use error::JournalError;
pub use event::*;
pub use export::{Export, ExportError, Imported, export_from, import, verify_export};
pub use follow::{Selection, Unrecorded};
pub use frame::*;
pub use journal::Journal;
pub use machine::Machine;
pub use options::{LineSink, MAX_EVENT_BYTES, MAX_KEY_BYTES, OperationSink, Options};
pub use retention::Retention;
pub use summary::{IncidentSummary, Recovered};
pub use text::{bounded, visible};
pub use tombstone::{Removal, Tombstone};
pub use verify::{VerifiedIncident, VerifyError, VerifyReport, verify};
pub use walk::Fault;
