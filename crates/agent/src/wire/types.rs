use std::borrow::Cow;
use std::ops::Deref;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient;

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

/// What one line of the CLI says, as far as it concerns a turn.
#[derive(Debug)]
pub enum Line<'a> {
    /// The CLI took a prompt.
    Init {
        /// Its session.
        session: Text<'a>,
    },
    /// The model's API failed and will be asked again.
    ApiRetry(ApiRetry<'a>),
    /// What the CLI itself is busy with.
    Status(Status<'a>),
    /// The model typed.
    TextDelta(Text<'a>),
    /// Finished blocks of the model's answer.
    Said {
        /// The model, or `<synthetic>` where the CLI speaks in its place.
        model: Text<'a>,
        /// What failed, as one of the CLI's words, where it speaks of a failure of the model's API.
        error: Option<Text<'a>>,
        /// The blocks.
        blocks: Vec<Block<'a>>,
    },
    /// Tools ended.
    ToolResults(Vec<ToolResult<'a>>),
    /// The CLI asks, and waits for the answer to `request`.
    Ask {
        /// Names the question.
        request: Text<'a>,
        /// The question; none if it is of a kind unknown here.
        question: Option<Question<'a>>,
    },
    /// The CLI no longer waits for the answer to this question.
    AskCancelled {
        /// Names the question.
        request: Text<'a>,
    },
    /// The answer to a request of ours.
    Answer {
        /// Names the request.
        request: Text<'a>,
        /// What went wrong, if anything did.
        error: Option<Text<'a>>,
    },
    /// A turn is over: the operator's, or one that the CLI began by itself.
    Ended(Ending<'a>),
    /// A known kind that says nothing about the turn.
    Quiet,
    /// A kind that is not known here.
    Unknown,
}

/// `system/api_retry`. What is missing or odd in it is 0 or none: it is told in any case.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ApiRetry<'a> {
    /// Which try failed, from 1.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub attempt: u32,
    /// How many there will be.
    #[serde(default, deserialize_with = "lenient::whole")]
    pub max_retries: u32,
    /// How long the CLI waits before the next one.
    #[serde(
        default,
        rename = "retry_delay_ms",
        deserialize_with = "lenient::milliseconds"
    )]
    pub delay: Duration,
    /// The HTTP status; none if there was no answer.
    #[serde(default, deserialize_with = "lenient::status")]
    pub error_status: Option<u16>,
    /// A word, such as `overloaded`.
    #[serde(default, borrow)]
    pub error: Option<Text<'a>>,
}

/// `system/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Status<'a> {
    /// `requesting`, `compacting`, a word that came later, or none: nothing any more.
    #[serde(default, borrow)]
    pub status: Option<Text<'a>>,
    /// How shortening the conversation went: `success` or `failed`.
    #[serde(default, borrow)]
    pub compact_result: Option<Text<'a>>,
    /// Why it failed.
    #[serde(default, borrow)]
    pub compact_error: Option<Text<'a>>,
}

impl Status<'_> {
    /// Whether the CLI has the model shorten the conversation, which prints nothing.
    #[must_use]
    pub fn is_compacting(&self) -> bool {
        self.status.as_deref() == Some("compacting")
    }
}

/// One block of the model's answer.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block<'a> {
    /// Words, in Markdown.
    Text {
        /// The words.
        #[serde(borrow)]
        text: Text<'a>,
    },
    /// A call of a tool.
    ToolUse {
        /// Names the call.
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

/// What a tool gave back.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolResult<'a> {
    /// Names the call.
    pub id: Text<'a>,
    /// What it printed; parts that are not text are left out.
    pub output: Cow<'a, str>,
    /// Whether it failed.
    pub is_error: bool,
    /// How many bytes of the line are not in `output`.
    pub omitted: u64,
}

/// `can_use_tool`: may this tool run?
#[derive(Debug, Deserialize)]
pub struct Question<'a> {
    /// The tool.
    #[serde(borrow)]
    pub tool_name: Text<'a>,
    /// Its input, exactly as the answer has to repeat it.
    #[serde(borrow)]
    pub input: &'a RawValue,
    /// Names the call.
    #[serde(default, borrow)]
    pub tool_use_id: Option<Text<'a>>,
}

/// `result`: how a turn went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ending<'a> {
    /// A word: `success`, `error_max_turns`, `error_during_execution`, ….
    pub subtype: Option<Text<'a>>,
    /// Whether it says that it failed. See [`Ending::failed`].
    pub is_error: bool,
    /// The last words, or the error in words.
    pub result: Option<Text<'a>>,
    /// What went wrong, a sentence each.
    pub errors: Vec<String>,
    /// The HTTP status of the model's API, where that is what failed.
    pub api_error_status: Option<u16>,
    /// What the process has cost so far, in US dollars.
    pub total_cost_usd: Option<f64>,
    /// What began the turn, where that was no person: `task-notification`, ….
    pub origin: Option<Text<'a>>,
}

impl Ending<'_> {
    /// Whether the turn failed, by whatever the line says of it.
    #[must_use]
    pub fn failed(&self) -> bool {
        let by_word = self.subtype.as_deref();
        self.is_error
            || by_word.is_some_and(|word| word.starts_with("error"))
            || !self.errors.is_empty()
    }

    /// Whether it ends the turn of the operator's prompt. The CLI begins turns by itself as well, as
    /// when a task in the background has ended, and names what began them.
    #[must_use]
    pub fn is_of_prompt(&self) -> bool {
        self.origin.as_deref().is_none_or(|kind| kind == "human")
    }
}
