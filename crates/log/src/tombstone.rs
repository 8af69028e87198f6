//! What stays of an incident that retention removed: who it was, and the hash it ended in.
//!
//! ```text
//! link(0) = SHA-256("breakglass tombstones")
//! link(n) = SHA-256(link(n-1) ‖ JSON of tombstone n)
//! ```
//!
//! So an audit tells a removal by retention from one by hand, and a tombstone that is gone from one
//! that never was. Who kept an export finds in it the hash that the export ends in.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chain::Hash;
use breakglass_model::IncidentId;

/// Why an incident was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// It was closed for longer than is kept.
    Age,
    /// There were more closed ones than are kept.
    Count,
    /// The store was nearly full.
    Size,
}

/// An incident that retention removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// By which number the record knew it, from 1.
    pub number: i64,
    /// Which.
    pub incident: IncidentId,
    /// The machine that it was about.
    pub target: String,
    /// Whether it was a rehearsal.
    pub drill: bool,
    /// RFC 3339, milliseconds.
    pub opened_at: String,
    /// RFC 3339, milliseconds.
    pub closed_at: String,
    /// How many events it had.
    pub events: u64,
    /// The hash of the last one; lower-case hex.
    pub head_hash: String,
    /// RFC 3339, milliseconds.
    pub removed_at: String,
    /// Why.
    pub reason: Removal,
}

impl std::fmt::Display for Tombstone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let why = match self.reason {
            Removal::Age => "older than is kept",
            Removal::Count => "more closed ones than are kept",
            Removal::Size => "the record was nearly full",
        };
        write!(
            f,
            "removed by retention on {} ({why}); it had {} events, and its last hash was {}",
            self.removed_at, self.events, self.head_hash
        )
    }
}

/// The link that the first tombstone hangs on.
pub(crate) fn genesis() -> Hash {
    Sha256::digest(b"breakglass tombstones").into()
}
