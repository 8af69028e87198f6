use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What the model says to one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An answer, streamed part by part.
    Parts(Vec<Part>),
    /// An error with this HTTP status.
    Status(u16),
    /// The same, and the header that says in how many seconds to ask again.
    RetryAfter(u16, u32),
    /// An error with this HTTP status, of this type and with this message.
    Error(u16, &'static str, &'static str),
    /// Another reply, after this long.
    Late(Duration, Box<Reply>),
    /// Nothing, ever.
    Hang,
}

/// A part of an answer: one content block.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text, a delta for each word.
    Text {
        /// The text.
        text: String,
        /// Nothing comes after the first word until this is cancelled.
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
    /// An answer that is text alone.
    #[must_use]
    pub fn text(text: &str) -> Reply {
        Reply::Parts(vec![Part::Text {
            text: text.to_owned(),
            held: None,
        }])
    }

    /// An answer that is text alone, of which all but the first word comes once `go_on` is cancelled.
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
