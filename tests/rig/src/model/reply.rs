use std::convert::Infallible;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
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

/// An error as the API words it.
pub(super) fn status(code: u16) -> Response {
    let kind = match code {
        401 => "authentication_error",
        404 => "not_found_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    error(code, kind, "scripted")
}

/// An error of this type.
pub(super) fn error(code: u16, kind: &str, message: &str) -> Response {
    let body = json!({"type": "error", "error": {"type": kind, "message": message}});
    let code = StatusCode::from_u16(code).unwrap();
    (
        code,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// The server-sent events of the answer to request `number`; cut off when `over`.
pub(super) fn stream(
    number: usize,
    parts: Vec<Part>,
    over: CancellationToken,
) -> impl Stream<Item = Result<String, Infallible>> {
    let events = events(number, parts);
    let paced = stream::iter(events).then(|(held, event)| async move {
        if let Some(go_on) = held {
            go_on.cancelled().await;
        }
        let kind = event["type"].as_str().unwrap_or_default();
        Ok(format!("event: {kind}\ndata: {event}\n\n"))
    });
    paced.take_until(over.cancelled_owned())
}

/// An event, and what it waits for.
type Held = (Option<CancellationToken>, Value);

fn events(number: usize, parts: Vec<Part>) -> Vec<Held> {
    let at_once = |value: Value| (None, value);
    let calls = parts.iter().any(|part| matches!(part, Part::Tool { .. }));
    let mut events = vec![at_once(json!({"type": "message_start", "message": {
        "id": format!("msg_{number}"), "type": "message", "role": "assistant",
        "model": "scripted", "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }}))];
    for (index, part) in parts.into_iter().enumerate() {
        let id = format!("toolu_{number}_{index}");
        let (block, deltas) = block(&id, part);
        let start = json!({"type": "content_block_start", "index": index, "content_block": block});
        events.push(at_once(start));
        events.extend(deltas.into_iter().map(|(held, delta)| {
            (
                held,
                json!({"type": "content_block_delta", "index": index, "delta": delta}),
            )
        }));
        events.push(at_once(
            json!({"type": "content_block_stop", "index": index}),
        ));
    }
    let reason = if calls { "tool_use" } else { "end_turn" };
    events.push(at_once(json!({
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": null},
        "usage": {"output_tokens": 9},
    })));
    events.push(at_once(json!({"type": "message_stop"})));
    events
}

/// An empty block as it starts, and the deltas that fill it.
fn block(id: &str, part: Part) -> (Value, Vec<Held>) {
    match part {
        Part::Text { text, held } => {
            let words = text.split_inclusive(' ').enumerate();
            let deltas = words.map(|(at, word)| {
                let held = held.clone().filter(|_| at > 0);
                (held, json!({"type": "text_delta", "text": word}))
            });
            (json!({"type": "text", "text": ""}), deltas.collect())
        }
        Part::Tool { name, input } => {
            let delta = json!({"type": "input_json_delta", "partial_json": input.to_string()});
            let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
            (block, vec![(None, delta)])
        }
    }
}
