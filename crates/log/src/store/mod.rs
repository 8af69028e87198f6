//! The store: one SQLite file, one thread that writes it, one that reads it.
//!
//! ```text
//! append ──bounded queue──▶ writer ──one transaction per batch──▶ file (WAL, synchronous=FULL)
//!                             │ after the commit, in this order:
//!                             ├─▶ ring (live readers)   ├─▶ line shipper   └─▶ acknowledgement
//! attach ──one page at a time──▶ reader (read-only connection) ──▶ ready SSE bytes
//! ```

mod apply;
mod command;
mod events;
mod queries;
mod reader;
mod retention_worker;
mod schema;
mod shared;
mod writer;

use std::collections::HashMap;

use parking_lot::RwLock;
use rusqlite::Row;
use rusqlite::types::Type;

pub(crate) use command::Command;
pub(crate) use events::{EventRange, StoredEvent, for_each, place, read_page};
pub(crate) use queries::{active_since, list, one, open_of, tombstone_of};
pub(crate) use reader::{PendingRead, Reader, ReplayPage, receive};
pub(crate) use retention_worker::RetentionWorker;
pub(crate) use schema::{StoreLocation, format_of, open_read_only};
pub(crate) use shared::Shared;
pub(crate) use writer::Writer;

use breakglass_model::{IncidentId, Time};

/// All incidents, each with its number in the store.
#[derive(Debug, Default)]
pub(crate) struct IncidentNumbers(RwLock<HashMap<IncidentId, i64>>);

impl IncidentNumbers {
    pub(crate) fn get(&self, incident: IncidentId) -> Option<i64> {
        self.0.read().get(&incident).copied()
    }

    pub(crate) fn insert(&self, incident: IncidentId, number: i64) {
        self.0.write().insert(incident, number);
    }

    pub(crate) fn remove(&self, incident: IncidentId) {
        self.0.write().remove(&incident);
    }

    pub(crate) fn clear(&self) {
        self.0.write().clear();
    }
}

/// A column that contains a time.
pub(crate) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Time> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse()
        .map_err(|error| unreadable_text(column, Box::new(error)))
}

/// A column that contains a time or nothing.
pub(crate) fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Time>> {
    let there = row.get_ref(column)?.as_str_or_null()?;
    there.map(|_| time(row, column)).transpose()
}

/// The error for a column whose text is not what it should be.
pub(crate) fn unreadable_text(
    column: usize,
    error: Box<dyn std::error::Error + Send + Sync>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error)
}
