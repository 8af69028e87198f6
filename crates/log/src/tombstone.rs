//! Tombstones: what retention leaves of an incident that it removed.
//!
//! ```text
//! link(0) = SHA-256("breakglass tombstones")
//! link(n) = SHA-256(link(n-1) ‖ JSON of tombstone n)
//! ```
//!
//! The chain lets an audit distinguish a removal by retention from one by hand, and a missing tombstone from one that
//! never existed. An export of the incident ends in the hash that its tombstone contains.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chain::Hash;
use breakglass_model::{IncidentId, Time};

/// Why an incident was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    /// It had been closed for longer than configured.
    Age,
    /// There were more closed incidents than configured.
    Count,
    /// The store was nearly full.
    Size,
}

/// An incident that retention removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Its number in the store, from 1.
    pub number: i64,
    /// Its id.
    pub incident: IncidentId,
    /// The target.
    pub target: String,
    /// Whether it was a drill.
    pub drill: bool,
    /// When it was opened.
    pub opened_at: Time,
    /// When it was closed.
    pub closed_at: Time,
    /// The number of its events.
    pub events: u64,
    /// The hash of the last event; lower-case hex.
    pub head_hash: String,
    /// When retention removed it.
    pub removed_at: Time,
    /// Why it was removed.
    pub reason: RemovalReason,
}

impl std::fmt::Display for Tombstone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let why = match self.reason {
            RemovalReason::Age => "closed for longer than configured",
            RemovalReason::Count => "more closed incidents than configured",
            RemovalReason::Size => "the log was nearly full",
        };
        write!(
            f,
            "removed by retention on {} ({why}); it had {} events, and its last hash was {}",
            self.removed_at, self.events, self.head_hash
        )
    }
}

/// The link before the first tombstone.
pub(crate) fn genesis() -> Hash {
    Sha256::digest(b"breakglass tombstones").into()
}
