//! Decodes one line of the CLI: its envelope first, then the one part that its kind needs.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::turn_result;
use super::types::{Block, Line, Text, ToolResult, ToolUseRequest};

/// A line that is not JSON, or a known kind in an unknown shape.
#[derive(Debug, Error)]
#[error("a line of the CLI could not be read: {0}")]
pub struct BadLine(#[from] serde_json::Error);

/// The fields that decide how a line is read; the parts that only some kinds need stay raw JSON.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(default, borrow)]
    subtype: Option<Text<'a>>,
    #[serde(default, borrow)]
    session_id: Option<Text<'a>>,
    /// Set on the lines of a sub-agent.
    #[serde(default, borrow)]
    parent_tool_use_id: Option<Text<'a>>,
    /// A word if the CLI reports a failure; other kinds of lines use other shapes.
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
    #[serde(default, borrow)]
    event: Option<&'a RawValue>,
    #[serde(default, borrow)]
    message: Option<&'a RawValue>,
    #[serde(default, borrow)]
    request_id: Option<Text<'a>>,
    #[serde(default, borrow)]
    request: Option<&'a RawValue>,
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
}

/// Decodes one line without its newline.
///
/// # Errors
/// [`BadLine`] if it is not JSON, or not in the shape of its kind.
pub fn decode<L: AsRef<[u8]> + ?Sized>(line: &L) -> Result<Line<'_>, BadLine> {
    let line = line.as_ref();
    let envelope: Envelope<'_> = match serde_json::from_slice(line) {
        Ok(envelope) => envelope,
        // A turn that has ended must end here too.
        Err(error) => {
            return turn_result::read(line)
                .map(Line::TurnResult)
                .ok_or(error.into());
        }
    };
    // A sub-agent's text is not the agent's; the results of its tools are matched by their calls.
    if envelope.parent_tool_use_id.is_some() && &*envelope.kind != "user" {
        return Ok(Line::Ignored);
    }
    match &*envelope.kind {
        "stream_event" => part(envelope.event, text_delta),
        "assistant" => part(envelope.message, |raw| assistant(raw, envelope.error)),
        "user" => part(envelope.message, tool_results),
        "system" => system(line, envelope),
        "result" => Ok(turn_result::read(line).map_or(Line::Unknown, Line::TurnResult)),
        "control_request" => part(envelope.request, |raw| {
            control_request(envelope.request_id, raw)
        }),
        "control_response" => part(envelope.response, control_response),
        "control_cancel_request" => Ok(envelope
            .request_id
            .map_or(Line::Unknown, |request| Line::ControlCancelled { request })),
        "rate_limit_event" | "keep_alive" | "tool_progress" => Ok(Line::Ignored),
        _ => Ok(Line::Unknown),
    }
}

fn part<'a>(
    raw: Option<&'a RawValue>,
    read: impl FnOnce(&'a str) -> Result<Line<'a>, BadLine>,
) -> Result<Line<'a>, BadLine> {
    raw.map_or(Ok(Line::Unknown), |raw| read(raw.get()))
}

fn system<'a>(line: &'a [u8], envelope: Envelope<'a>) -> Result<Line<'a>, BadLine> {
    match (envelope.subtype.as_deref(), envelope.session_id) {
        (Some("init"), Some(session)) => Ok(Line::Init { session }),
        (Some("api_retry"), _) => Ok(Line::ApiRetry(serde_json::from_slice(line)?)),
        (Some("status"), _) => Ok(Line::Status(serde_json::from_slice(line)?)),
        _ => Ok(Line::Ignored),
    }
}

/// `stream_event`: of the model's raw events, only text matters.
fn text_delta(raw: &str) -> Result<Line<'_>, BadLine> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "type", borrow)]
        kind: Text<'a>,
        #[serde(default, borrow)]
        delta: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Delta<'a> {
        #[serde(rename = "type", default, borrow)]
        kind: Option<Text<'a>>,
        #[serde(default, borrow)]
        text: Option<Text<'a>>,
    }
    let event: Event<'_> = serde_json::from_str(raw)?;
    let Some(delta) = event
        .delta
        .filter(|_| &*event.kind == "content_block_delta")
    else {
        return Ok(Line::Ignored);
    };
    let delta: Delta<'_> = serde_json::from_str(delta.get())?;
    Ok(match (delta.kind.as_deref(), delta.text) {
        (Some("text_delta"), Some(text)) => Line::TextDelta(text),
        _ => Line::Ignored,
    })
}

fn assistant<'a>(raw: &'a str, error: Option<&'a RawValue>) -> Result<Line<'a>, BadLine> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(default, borrow)]
        model: Option<Text<'a>>,
        #[serde(default, borrow)]
        content: Vec<Block<'a>>,
    }
    let message: Message<'_> = serde_json::from_str(raw)?;
    let model = message.model.unwrap_or(Text(Cow::Borrowed("")));
    let word = |raw: &'a RawValue| serde_json::from_str(raw.get()).ok();
    Ok(Line::Assistant {
        model,
        error: error.and_then(word),
        blocks: message.content,
    })
}

/// `user`: results of tools; the CLI's other lines of this kind don't matter.
fn tool_results(raw: &str) -> Result<Line<'_>, BadLine> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        content: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(default, borrow)]
        tool_use_id: Option<Text<'a>>,
        #[serde(default, borrow)]
        content: Option<&'a RawValue>,
        #[serde(default)]
        is_error: Option<bool>,
    }
    let message: Message<'_> = serde_json::from_str(raw)?;
    if !message.content.get().starts_with('[') {
        return Ok(Line::Ignored);
    }
    let items: Vec<Item<'_>> = serde_json::from_str(message.content.get())?;
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        let Some(id) = item.tool_use_id else { continue };
        let output = item
            .content
            .map_or(Ok(Cow::Borrowed("")), |raw| output(raw.get()))?;
        results.push(ToolResult {
            id,
            output,
            is_error: item.is_error.unwrap_or(false),
            omitted: 0,
        });
    }
    Ok(if results.is_empty() {
        Line::Ignored
    } else {
        Line::ToolResults(results)
    })
}

/// A tool's output: a string, or a list of parts, some of which are text.
fn output(raw: &str) -> Result<Cow<'_, str>, BadLine> {
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(default, borrow)]
        text: Option<Text<'a>>,
    }
    match raw.as_bytes().first() {
        Some(b'"') => Ok(serde_json::from_str::<Text<'_>>(raw)?.0),
        Some(b'[') => {
            let parts: Vec<Part<'_>> = serde_json::from_str(raw)?;
            let texts: Vec<&str> = parts
                .iter()
                .filter_map(|part| part.text.as_deref())
                .collect();
            Ok(Cow::Owned(texts.join("\n")))
        }
        _ => Ok(Cow::Borrowed("")),
    }
}

fn control_request<'a>(request: Option<Text<'a>>, raw: &'a str) -> Result<Line<'a>, BadLine> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        subtype: Text<'a>,
    }
    let Some(request) = request else {
        return Ok(Line::Unknown);
    };
    let kind: Kind<'_> = serde_json::from_str(raw)?;
    let tool_use = match &*kind.subtype {
        "can_use_tool" => Some(serde_json::from_str::<ToolUseRequest<'_>>(raw)?),
        _ => None,
    };
    Ok(Line::ControlRequest { request, tool_use })
}

fn control_response(raw: &str) -> Result<Line<'_>, BadLine> {
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow)]
        subtype: Text<'a>,
        #[serde(borrow)]
        request_id: Text<'a>,
        #[serde(default, borrow)]
        error: Option<Text<'a>>,
    }
    let response: Response<'_> = serde_json::from_str(raw)?;
    let error = match &*response.subtype {
        "success" => None,
        _ => Some(
            response
                .error
                .unwrap_or(Text(Cow::Borrowed("no reason given"))),
        ),
    };
    Ok(Line::ControlResponse {
        request: response.request_id,
        error,
    })
}
