use serde_json::{Value, json};

use super::types::{Block, Line, ToolResult};

/// `line` as the CLI would have written it, without its newline; of a kind that an
/// [`Outline`](super::Outline) gives.
pub(crate) fn stub(line: &Line<'_>) -> String {
    let value = match line {
        Line::ToolResults(results) => {
            let content: Vec<Value> = results.iter().map(result).collect();
            json!({"type": "user", "message": {"role": "user", "content": content}})
        }
        Line::Said { blocks, .. } => {
            let content: Vec<Value> = blocks.iter().map(block).collect();
            json!({"type": "assistant", "message": {"content": content}})
        }
        Line::Ended(ending) => json!({
            "type": "result",
            "is_error": ending.is_error,
            "errors": ending.errors,
            "total_cost_usd": ending.total_cost_usd,
            "origin": ending.origin.as_deref().map(|kind| json!({"kind": kind})),
        }),
        Line::Ask { request, .. } => json!({
            "type": "control_request",
            "request_id": &**request,
            "request": {"subtype": "unreadable"},
        }),
        _ => json!({"type": "unreadable"}),
    };
    value.to_string()
}

fn result(result: &ToolResult<'_>) -> Value {
    json!({
        "type": "tool_result",
        "tool_use_id": &*result.id,
        "content": &*result.output,
        "is_error": result.is_error,
    })
}

fn block(block: &Block<'_>) -> Value {
    match block {
        Block::Text { text } => json!({"type": "text", "text": &**text}),
        Block::ToolUse { id, name, input } => {
            json!({"type": "tool_use", "id": &**id, "name": &**name, "input": input})
        }
        Block::Other => json!({"type": "other"}),
    }
}
