//! The incident log: everything that anyone does, as one ordered, replayable, provable log.

#![forbid(unsafe_code)]

mod attach;
mod canonical;
mod chain;
mod ended;
mod error;
mod export;
mod figures;
mod follow;
mod health;
mod live;
mod log;
mod options;
mod outlet;
mod recover;
mod retention;
mod store;
mod summary;
mod tombstone;
mod verify;
mod walk;

pub use attach::Attachment;
pub use ended::EndSink;
pub use error::LogError;
pub use export::{Export, ExportError, Imported, export_from, import, verify_export};
pub use follow::{Selection, Unrecorded};
pub use log::Log;
pub use options::{LineSink, MAX_EVENT_BYTES, MAX_KEY_BYTES, OperationSink, Options};
pub use retention::Retention;
pub use summary::{IncidentSummary, Recovered};
pub use tombstone::{Removal, Tombstone};
pub use verify::{VerifiedIncident, VerifyError, VerifyReport, verify};
pub use walk::Fault;
