//! What passes and is not kept: never replayed, replaced by the next durable event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::actor::Actor;
use crate::event::{EventBody, TurnNumber};
use crate::machine::Machine;

/// A frame without a sequence number. On the wire it is an SSE frame without `id`, whose
/// `event` is [`Frame::name`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "frame", rename_all = "snake_case")]
#[ts(export)]
pub enum Frame {
    /// The model is typing: `text` goes to the end of what the open block holds so far.
    TextDelta {
        /// The turn.
        turn: TurnNumber,
        /// More text.
        text: String,
    },
    /// All that the open block holds so far; sent once to a reader who joins in its middle.
    TextSnapshot {
        /// The turn.
        turn: TurnNumber,
        /// The whole text so far.
        text: String,
    },
    /// The latest vital signs of the incident's target.
    Vitals(Vitals),
    /// An event that could not be recorded: it happened, and the log does not hold it.
    Unrecorded {
        /// When.
        at: String,
        /// Who.
        actor: Actor,
        /// What.
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

/// Vital signs of a target; each is `unknown` until it was first looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct Vitals {
    /// The target.
    pub target: String,
    /// Whether the guest answers on SSH.
    pub ssh: Vital,
    /// What the host's gate says of the guest's machine.
    pub vm: Vital,
    /// What that gate measured of it; missing where it could not be asked, or is an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub machine: Option<Box<Machine>>,
    /// What both say together at this moment, by rule. It goes when it is no longer so, which an
    /// event can't.
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
    /// What it rests on.
    pub evidence: Vec<String>,
    /// The one verb that it supports, if it supports one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub recommend: Option<String>,
}

/// One vital sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct Vital {
    /// How it is.
    pub state: VitalState,
    /// A few words: `answers in 12 ms`, `no answer for 3 s`, `running`.
    pub text: String,
    /// Since when it has been in this state; RFC 3339.
    pub since: String,
    /// When it was last looked at; RFC 3339.
    pub seen: String,
}

/// How a vital sign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum VitalState {
    /// As it should be.
    Good,
    /// Answers, but not as it should.
    Slow,
    /// Does not answer, or is down.
    Dead,
    /// Not looked at yet, or could not be looked at.
    Unknown,
}
