//! The state of operations as the interface shows it.

use breakglass_model::{Actor, IncidentId, OperationId, OutputStream, VerbOutcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// An operation that was started now, or earlier under the same idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct Accepted {
    /// Identifies the operation.
    pub operation: OperationId,
    /// The incident that it is recorded in; absent if the log accepts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub incident: Option<IncidentId>,
    /// Whether the idempotency key belongs to an earlier operation, so that nothing was started now.
    pub replayed: bool,
}

/// One run of a verb or a diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct OperationView {
    /// Identifies the operation.
    pub operation: OperationId,
    /// The incident that it is recorded in; absent if the log accepts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub incident: Option<IncidentId>,
    /// The target.
    pub target: String,
    /// Whether `verb` is a verb or a diagnosis.
    pub kind: OperationKind,
    /// The name of the verb or diagnosis.
    pub verb: String,
    /// Who started it.
    pub actor: Actor,
    /// Whether it is still running.
    pub state: OperationState,
    /// How it ended; absent while it is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub outcome: Option<VerbOutcome>,
    /// The gate's verdict, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub verdict: Option<String>,
    /// A sentence: what happened, and what to do next if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub message: Option<String>,
    /// RFC 3339, milliseconds.
    pub started_at: String,
    /// How long it ran; absent while it is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub duration_ms: Option<u64>,
    /// The last lines of its output, at most 200.
    pub lines: Vec<OutputLine>,
}

/// Whether an operation is a verb on the host or a diagnosis of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum OperationKind {
    /// A verb, by the host's gate.
    Verb,
    /// A read-only diagnosis of the guest.
    Check,
}

/// Whether an operation is still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum OperationState {
    /// It is running.
    Running,
    /// It has ended; `outcome` says how.
    Finished,
}

/// One line of an operation's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct OutputLine {
    /// Standard output or standard error.
    pub stream: OutputStream,
    /// The line without its newline, with control characters made visible.
    pub line: String,
}
