//! The store: one SQLite file, one thread that writes it, one that reads it.
//!
//! ```text
//! append ──bounded queue──▶ writer ──one transaction per batch──▶ file (WAL, synchronous=FULL)
//!                             │ after the commit, in this order:
//!                             ├─▶ ring (live readers)   ├─▶ outlet (shipped lines)   └─▶ acknowledgement
//! attach ──one block at a time──▶ reader (read-only connection) ──▶ ready SSE bytes
//! ```

mod apply;
mod keeper;
mod reader;
mod schema;
mod writer;

pub(crate) use keeper::Keeper;
pub(crate) use reader::{
    Answer, Block, Reader, active_since, list, one, open_of, read_events, receive, select,
    tombstone_of,
};
pub(crate) use schema::{Place, format_of, open_read_only};
pub(crate) use writer::{Command, Shared, Writer};

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use breakglass_model::IncidentId;

/// The incidents that there are, and the number by which the store knows each.
#[derive(Debug, Default)]
pub(crate) struct Registry(RwLock<HashMap<IncidentId, i64>>);

impl Registry {
    pub(crate) fn number(&self, incident: IncidentId) -> Option<i64> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&incident)
            .copied()
    }

    pub(crate) fn enter(&self, incident: IncidentId, number: i64) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(incident, number);
    }

    pub(crate) fn remove(&self, incident: IncidentId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&incident);
    }

    pub(crate) fn clear(&self) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// An event's key: its incident's number, then its `seq`, so that a log is one run of the table.
pub(crate) const fn place(number: i64, seq: u64) -> i64 {
    (number << 32) | (seq.cast_signed() & 0xffff_ffff)
}
