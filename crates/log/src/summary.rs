use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use breakglass_model::{IncidentId, TurnNumber};

/// An incident in one line, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct IncidentSummary {
    /// Which.
    pub incident: IncidentId,
    /// The machine to be saved.
    pub target: String,
    /// Whether it is a rehearsal.
    pub drill: bool,
    /// RFC 3339, milliseconds.
    pub opened_at: String,
    /// RFC 3339, milliseconds; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub closed_at: Option<String>,
    /// The newest event's `seq`.
    #[ts(type = "number")]
    pub head: u64,
    /// When the newest event happened.
    pub last_at: String,
    /// The turn that has a prompt and no end yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub running_turn: Option<TurnNumber>,
    /// When it came from another record, RFC 3339, milliseconds; absent where it happened here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub imported_at: Option<String>,
}

/// What a start found unfinished and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Turns that were running when the process died.
    pub turns: usize,
    /// Verbs that were running when the process died.
    pub verbs: usize,
}
