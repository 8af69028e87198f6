//! Nearly all that the CLI prints during a turn, in one pass.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::types::{Line, Text, ToolResult};

/// `stream_event`, as far as typed text goes.
#[derive(Deserialize)]
struct Streamed<'a> {
    #[serde(borrow)]
    event: Event<'a>,
    #[serde(default)]
    parent_tool_use_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(default, borrow)]
    delta: Option<Delta<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(default, borrow)]
    text: Option<Text<'a>>,
}

/// `user`, where tools gave plain text back.
#[derive(Deserialize)]
struct Reported<'a> {
    #[serde(borrow)]
    message: Message<'a>,
    #[serde(default)]
    parent_tool_use_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    tool_use_id: Text<'a>,
    #[serde(borrow)]
    content: Text<'a>,
    #[serde(default)]
    is_error: Option<bool>,
}

/// Typed text or the plain output of tools, in a line that begins as the CLI begins it. `None`
/// leaves the line to the careful way, which also says what is wrong with it.
pub(super) fn decode(line: &[u8]) -> Option<Line<'_>> {
    if line.starts_with(br#"{"type":"stream_event","#) {
        streamed(std::str::from_utf8(line).ok()?)
    } else if line.starts_with(br#"{"type":"user","#) {
        reported(std::str::from_utf8(line).ok()?)
    } else {
        None
    }
}

fn streamed(line: &str) -> Option<Line<'_>> {
    let Streamed {
        event,
        parent_tool_use_id: None,
    } = serde_json::from_str(line).ok()?
    else {
        return None;
    };
    let delta = event
        .delta
        .filter(|_| &*event.kind == "content_block_delta")?;
    let text = delta.text.filter(|_| &*delta.kind == "text_delta")?;
    Some(Line::TextDelta(text))
}

fn reported(line: &str) -> Option<Line<'_>> {
    let Reported {
        message,
        parent_tool_use_id: None,
    } = serde_json::from_str(line).ok()?
    else {
        return None;
    };
    let results = message.content.into_iter().map(|item| ToolResult {
        id: item.tool_use_id,
        output: item.content.0,
        is_error: item.is_error.unwrap_or(false),
        omitted: 0,
    });
    let results: Vec<ToolResult<'_>> = results.collect();
    (!results.is_empty()).then_some(Line::ToolResults(results))
}
