use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The model's reply to one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An answer, streamed part by part.
    Parts(Vec<Part>),
    /// An error with this HTTP status.
    Status(u16),
    /// The same, with a Retry-After header in seconds.
    RetryAfter(u16, u32),
    /// An error with this HTTP status, of this type and with this message.
    Error(u16, &'static str, &'static str),
    /// Another reply, after this delay.
    Late(Duration, Box<Reply>),
    /// No reply at all.
    Hang,
}

/// A part of an answer: one content block.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text, a delta for each word.
    Text {
        /// The text.
        text: String,
        /// The rest after the first word waits until this is cancelled.
        held: Option<CancellationToken>,
    },
    /// A call of a tool.
    Tool {
        /// The tool.
        name: String,
        /// Its input.
        input: Value,
    },
}

impl Reply {
    /// An answer with text only.
    #[must_use]
    pub fn text(text: &str) -> Reply {
        Reply::Parts(vec![Part::Text {
            text: text.to_owned(),
            held: None,
        }])
    }

    /// An answer with text only; the rest after the first word is sent once `go_on` is cancelled.
    #[must_use]
    pub fn held_text(text: &str, go_on: CancellationToken) -> Reply {
        Reply::Parts(vec![Part::Text {
            text: text.to_owned(),
            held: Some(go_on),
        }])
    }

    /// `reply`, after `wait`.
    #[must_use]
    pub fn late(wait: Duration, reply: Reply) -> Reply {
        Reply::Late(wait, Box::new(reply))
    }

    /// An answer that calls one tool.
    #[must_use]
    pub fn tool(name: &str, input: Value) -> Reply {
        Reply::Parts(vec![Part::Tool {
            name: name.to_owned(),
            input,
        }])
    }

    /// An answer that runs one command.
    #[must_use]
    pub fn bash(command: &str) -> Reply {
        Reply::tool(
            "Bash",
            json!({"command": command, "description": "a test's command"}),
        )
    }
}
