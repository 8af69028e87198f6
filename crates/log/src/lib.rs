//! The incident log: everything that anyone does, as one ordered, replayable and verifiable log.
//!
//! It owns the hash chain, the store, live streams, export and retention. The types of events are in
//! `breakglass-model`; what an event means is decided by those who write and read it.

#![forbid(unsafe_code)]

mod attach;
mod canonical;
mod chain;
mod chain_check;
mod completion;
mod cursor;
mod error;
mod export;
mod follow;
mod health;
mod line_shipper;
mod live;
mod log;
mod metrics;
mod open;
mod options;
mod recover;
mod retention;
mod store;
mod summary;
mod tombstone;
mod verify;
mod write;

pub use attach::Attachment;
pub use chain_check::Fault;
pub use completion::CompletionSink;
pub use cursor::EventCursor;
pub use error::LogError;
pub use export::{Export, ExportError, Imported, export_from, import, verify_export};
pub use follow::Unrecorded;
pub use log::Log;
pub use options::{LineSink, MAX_EVENT_BYTES, MAX_KEY_BYTES, OperationSink, Options};
pub use retention::Retention;
pub use summary::{IncidentSummary, Recovered};
pub use tombstone::{RemovalReason, Tombstone};
pub use verify::{VerifiedIncident, VerifyError, VerifyReport, verify};
