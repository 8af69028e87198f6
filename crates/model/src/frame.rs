//! What readers are shown and the log does not keep: never replayed, replaced by the next durable event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use breakglass_verbs::Verb;

use crate::actor::Actor;
use crate::event::{EventBody, TurnNumber};
use crate::machine::Machine;
use crate::time::Time;
use crate::word::{self, VerbWord};

/// A frame without a sequence number. On the wire it is an SSE frame without `id`, whose
/// `event` is [`Frame::name`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "frame", rename_all = "snake_case")]
#[ts(export)]
pub enum Frame {
    /// The model is typing: append `text` to the open block.
    TextDelta {
        /// The turn.
        turn: TurnNumber,
        /// More text.
        text: String,
    },
    /// The open block so far; sent once to a reader that joins in its middle.
    TextSnapshot {
        /// The turn.
        turn: TurnNumber,
        /// The whole text so far.
        text: String,
    },
    /// The latest vital signs of the incident's target.
    Vitals(Vitals),
    /// An event that happened and could not be recorded, so it is not in the log.
    Unrecorded {
        /// When it happened.
        at: Time,
        /// Who did it.
        actor: Actor,
        /// What happened.
        body: EventBody,
    },
}

impl Frame {
    /// The SSE event name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Frame::TextDelta { .. } => "text_delta",
            Frame::TextSnapshot { .. } => "text_snapshot",
            Frame::Vitals(_) => "vitals",
            Frame::Unrecorded { .. } => "unrecorded",
        }
    }
}

/// Vital signs of a target; each is `unknown` until its first probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct Vitals {
    /// The target.
    pub target: String,
    /// Whether the guest answers on SSH.
    pub ssh: Vital,
    /// The state of the guest's machine, according to the host's gate.
    pub vm: Vital,
    /// What the gate measured; missing if the gate did not answer or is an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub machine: Option<Box<Machine>>,
    /// What both signs mean together, by a fixed rule. Removed when it no longer applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub finding: Option<SignsFinding>,
}

/// A conclusion from vital signs alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct SignsFinding {
    /// The rule.
    pub signature: String,
    /// One sentence.
    pub summary: String,
    /// The evidence for it.
    pub evidence: Vec<String>,
    /// The verb that the evidence supports, if any.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "word::optional"
    )]
    #[ts(optional, as = "Option<VerbWord>")]
    #[schemars(with = "Option<VerbWord>")]
    pub recommend: Option<Verb>,
}

/// One vital sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct Vital {
    /// The state.
    pub state: VitalState,
    /// A few words: `answers in 12 ms`, `no answer for 3 s`, `running`.
    pub text: String,
    /// When it entered this state.
    pub since: Time,
    /// When it was last probed.
    pub seen: Time,
}

/// The state of a vital sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum VitalState {
    /// Normal.
    Good,
    /// Answers, but slowly or wrongly.
    Slow,
    /// Does not answer, or is down.
    Dead,
    /// Not probed yet, or the probe failed.
    Unknown,
}
