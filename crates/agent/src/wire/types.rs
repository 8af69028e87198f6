use std::borrow::Cow;
use std::ops::Deref;

use serde::Deserialize;
use serde_json::value::RawValue;

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
    /// The model typed.
    TextDelta(Text<'a>),
    /// Finished blocks of the model's answer.
    Said {
        /// The model, or `<synthetic>` where the CLI speaks in its place.
        model: Text<'a>,
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
    /// The turn is over.
    Ended(Ending<'a>),
    /// A known kind that says nothing about the turn.
    Quiet,
    /// A kind that is not known here.
    Unknown,
}

/// `system/api_retry`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiRetry<'a> {
    /// Which try failed, from 1.
    pub attempt: u32,
    /// How many there will be.
    pub max_retries: u32,
    /// The HTTP status; none if there was no answer.
    #[serde(default)]
    pub error_status: Option<u16>,
    /// A word, such as `overloaded`.
    #[serde(default, borrow)]
    pub error: Option<Text<'a>>,
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
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Ending<'a> {
    /// A word: `success`, `error_during_execution`, ….
    #[serde(default, borrow)]
    pub subtype: Option<Text<'a>>,
    /// Whether it failed.
    #[serde(default)]
    pub is_error: bool,
    /// The last words, or the error in words.
    #[serde(default, borrow)]
    pub result: Option<Text<'a>>,
    /// The HTTP status of the model's API, where that is what failed.
    #[serde(default)]
    pub api_error_status: Option<u16>,
    /// What the process has cost so far, in US dollars.
    #[serde(default)]
    pub total_cost_usd: Option<f64>,
}
