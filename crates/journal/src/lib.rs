//! The incident log: everything that anyone does, as one ordered, replayable, provable log.

#![forbid(unsafe_code)]

mod actor;
mod error;
mod event;
mod frame;
mod journal;
mod options;
mod summary;
mod text;

pub use actor::Actor;
pub use error::JournalError;
pub use event::*;
pub use frame::*;
pub use journal::{Attachment, Journal};
pub use options::{LineSink, MAX_EVENT_BYTES, MAX_KEY_BYTES, Options};
pub use summary::{IncidentSummary, Recovered};
pub use text::{bounded, visible};
