use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use breakglass_model::{IncidentId, Time, TurnNumber};

/// An incident in one line, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct IncidentSummary {
    /// Its id.
    pub incident: IncidentId,
    /// The target.
    pub target: String,
    /// Whether it is a drill.
    pub drill: bool,
    /// When it was opened.
    pub opened_at: Time,
    /// When it was closed; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub closed_at: Option<Time>,
    /// The newest event's `seq`.
    #[ts(type = "number")]
    pub head: u64,
    /// When the newest event happened.
    pub last_at: Time,
    /// The turn that has not ended yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub running_turn: Option<TurnNumber>,
    /// When it was imported; absent if it happened here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub imported_at: Option<Time>,
}

/// What a start ended because an earlier process had left it unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Turns that were running when the process died.
    pub turns: usize,
    /// Verbs that were running when the process died.
    pub verbs: usize,
}
