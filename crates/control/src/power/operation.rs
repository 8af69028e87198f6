use breakglass_model::{Actor, IncidentId, OperationId, OutputStream, VerbOutcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What was begun, or had been begun before under the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct Accepted {
    /// Names the run.
    pub operation: OperationId,
    /// Where its events go; absent when the record can't take any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub incident: Option<IncidentId>,
    /// Whether the idempotency key named an earlier run, so that nothing was begun now.
    pub replayed: bool,
}

/// A caller's own name for one request: the same key never runs twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// The text can't be an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to 128 visible ASCII characters; send a random UUID")]
pub struct KeyFormat;

impl IdempotencyKey {
    /// A key of 1 to 128 visible ASCII characters.
    ///
    /// # Errors
    /// When `text` is anything else.
    pub fn new(text: &str) -> Result<IdempotencyKey, KeyFormat> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(IdempotencyKey(text.to_owned()))
        } else {
            Err(KeyFormat)
        }
    }

    /// The key within its actor's own space, so that nobody hits another's keys.
    pub(crate) fn scoped(&self, actor: &Actor) -> String {
        format!("{actor} {}", self.0)
    }
}

/// One run of a verb or check, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct OperationView {
    /// Names the run.
    pub operation: OperationId,
    /// Where its events go; absent when the record can't take any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub incident: Option<IncidentId>,
    /// The machine.
    pub target: String,
    /// Whether `verb` names a verb or a check.
    pub kind: OperationKind,
    /// What was asked for.
    pub verb: String,
    /// Who asked.
    pub actor: Actor,
    /// Whether it still runs.
    pub state: OperationState,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub outcome: Option<VerbOutcome>,
    /// The gate's verdict, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub verdict: Option<String>,
    /// A sentence: how it ended, and what to do next where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub message: Option<String>,
    /// RFC 3339, milliseconds.
    pub started_at: String,
    /// How long it ran, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub duration_ms: Option<u64>,
    /// The last lines that it printed, at most 200.
    pub lines: Vec<OutputLine>,
}

/// Whether an operation is a verb on the host or a check on the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum OperationKind {
    /// A verb, by the host's gate.
    Verb,
    /// A read-only diagnosis of the guest.
    Check,
}

/// Whether an operation still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum OperationState {
    /// It runs.
    Running,
    /// It has ended; `outcome` says how.
    Finished,
}

/// One line that an operation printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct OutputLine {
    /// Where it was printed.
    pub stream: OutputStream,
    /// The line, without its newline, control sequences made visible.
    pub line: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_of_two_people_is_two_keys() {
        let key = |text| IdempotencyKey::new(text).unwrap();
        let of = |name: &str, text| key(text).scoped(&Actor::Operator(name.to_owned()));
        assert_eq!(of("ann", "1"), of("ann", "1"));
        assert_ne!(of("ann", "1"), of("bob", "1"));
        // A name may hold blanks, a key may not: neither can pass for a part of the other.
        assert_ne!(of("ann x", "1"), of("ann", "x1"));
        assert!(IdempotencyKey::new("x 1").is_err());
    }
}
