//! The lines of the CLI as types. They borrow from the line wherever they can.

use std::borrow::Cow;
use std::ops::Deref;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient_numbers;

/// A JSON string, borrowed from the line unless it holds an escape.
///
/// A type of its own because serde borrows inside an `Option` only through one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// One line of the CLI, as far as it concerns a turn.
#[derive(Debug)]
pub enum Line<'a> {
    /// The CLI took a prompt.
    Init {
        /// Its session.
        session: Text<'a>,
    },
    /// A request to the model's API failed, and the CLI will repeat it.
    ApiRetry(ApiRetry<'a>),
    /// What the CLI itself is busy with.
    Status(Status<'a>),
    /// The next piece of the model's text.
    TextDelta(Text<'a>),
    /// Finished blocks of the model's answer.
    Assistant {
        /// The model, or `<synthetic>` if the CLI wrote the text in its place.
        model: Text<'a>,
        /// The CLI's word for a failure of the model's API, if the text reports one.
        error: Option<Text<'a>>,
        /// The blocks.
        blocks: Vec<Block<'a>>,
    },
    /// Tools have finished.
    ToolResults(Vec<ToolResult<'a>>),
    /// The CLI asks something and waits for a response.
    ControlRequest {
        /// The request's id.
        request: Text<'a>,
        /// The tool that the CLI asks about; none for a kind of request that is not known here.
        tool_use: Option<ToolUseRequest<'a>>,
    },
    /// The CLI no longer waits for a response to this request.
    ControlCancelled {
        /// The request's id.
        request: Text<'a>,
    },
    /// The response to one of our requests.
    ControlResponse {
        /// The request's id.
        request: Text<'a>,
        /// The error, if the request failed.
        error: Option<Text<'a>>,
    },
    /// A turn is over: the operator's, or one that the CLI began by itself.
    TurnResult(TurnResult<'a>),
    /// A known kind that does not concern the turn.
    Ignored,
    /// A kind that is not known here.
    Unknown,
}

/// `system/api_retry`. A missing or odd field is 0 or none: the retry is reported in any case.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ApiRetry<'a> {
    /// Number of the attempt that failed, from 1.
    #[serde(default, deserialize_with = "lenient_numbers::count")]
    pub attempt: u32,
    /// Maximum number of retries.
    #[serde(default, deserialize_with = "lenient_numbers::count")]
    pub max_retries: u32,
    /// Delay before the next attempt.
    #[serde(
        default,
        rename = "retry_delay_ms",
        deserialize_with = "lenient_numbers::milliseconds"
    )]
    pub delay: Duration,
    /// The HTTP status; none if there was no response.
    #[serde(default, deserialize_with = "lenient_numbers::http_status")]
    pub error_status: Option<u16>,
    /// The CLI's word for the error, such as `overloaded`.
    #[serde(default, borrow)]
    pub error: Option<Text<'a>>,
}

/// `system/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Status<'a> {
    /// `requesting`, `compacting`, a later word, or none when the CLI is no longer busy.
    #[serde(default, borrow)]
    pub status: Option<Text<'a>>,
    /// The result of a compaction: `success` or `failed`.
    #[serde(default, borrow)]
    pub compact_result: Option<Text<'a>>,
    /// Why the compaction failed.
    #[serde(default, borrow)]
    pub compact_error: Option<Text<'a>>,
}

impl Status<'_> {
    /// Whether the CLI is compacting the conversation, during which it prints nothing.
    #[must_use]
    pub fn is_compacting(&self) -> bool {
        self.status.as_deref() == Some("compacting")
    }
}

/// One block of the model's answer.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block<'a> {
    /// Text.
    Text {
        /// Markdown.
        #[serde(borrow)]
        text: Text<'a>,
    },
    /// A tool call.
    ToolUse {
        /// The call's id.
        #[serde(borrow)]
        id: Text<'a>,
        /// The tool.
        #[serde(borrow)]
        name: Text<'a>,
        /// Its input.
        input: serde_json::Value,
    },
    /// Thinking, or a kind that came later.
    #[serde(other)]
    Other,
}

/// The result of a tool call.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolResult<'a> {
    /// The call's id.
    pub id: Text<'a>,
    /// The tool's output without the parts that are not text.
    pub output: Cow<'a, str>,
    /// Whether the tool failed.
    pub is_error: bool,
    /// Number of bytes of the line that are not in `output`.
    pub omitted: u64,
}

/// `can_use_tool`: the CLI asks whether a tool may run.
#[derive(Debug, Deserialize)]
pub struct ToolUseRequest<'a> {
    /// The tool.
    #[serde(borrow)]
    pub tool_name: Text<'a>,
    /// Its input, which the response has to repeat unchanged.
    #[serde(borrow)]
    pub input: &'a RawValue,
    /// The call's id.
    #[serde(default, borrow)]
    pub tool_use_id: Option<Text<'a>>,
}

/// `result`: how a turn ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TurnResult<'a> {
    /// `success`, `error_max_turns`, `error_during_execution`, ….
    pub subtype: Option<Text<'a>>,
    /// The CLI's own flag. [`TurnResult::failed`] is the one to use.
    pub is_error: bool,
    /// The last text of the answer, or the error as text.
    pub result: Option<Text<'a>>,
    /// The errors, one sentence each.
    pub errors: Vec<String>,
    /// The HTTP status, if the model's API failed.
    pub api_error_status: Option<u16>,
    /// Cost of the process so far, in US dollars.
    pub total_cost_usd: Option<f64>,
    /// What began the turn, if it was not a person: `task-notification`, ….
    pub origin: Option<Text<'a>>,
}

impl TurnResult<'_> {
    /// Whether the turn failed by any of the line's fields.
    #[must_use]
    pub fn failed(&self) -> bool {
        let subtype = self.subtype.as_deref().unwrap_or_default();
        self.is_error || subtype.starts_with("error") || !self.errors.is_empty()
    }

    /// Whether this ends the turn of the operator's prompt. The CLI also begins turns by itself, for example
    /// when a background task has ended, and names their origin.
    #[must_use]
    pub fn is_of_prompt(&self) -> bool {
        self.origin.as_deref().is_none_or(|kind| kind == "human")
    }
}
