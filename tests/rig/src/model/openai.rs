//! The two APIs of other vendors' models: chat completions and responses.

use serde_json::{Value, json};

use super::Part;
use super::dialect::Held;

/// The answer to request `number` as a stream of chat completions.
pub(super) fn chat(number: usize, parts: Vec<Part>) -> Vec<Held> {
    let chunk = |delta: Value, reason: Option<&str>| {
        data(&json!({
            "id": format!("chatcmpl-{number}"), "object": "chat.completion.chunk", "created": 0,
            "model": "scripted",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }))
    };
    let mut events = vec![(
        None,
        chunk(json!({"role": "assistant", "content": ""}), None),
    )];
    let mut calls = 0;
    for part in parts {
        match part {
            Part::Text { text, held } => {
                for (at, word) in text.split_inclusive(' ').enumerate() {
                    let held = held.clone().filter(|_| at > 0);
                    events.push((held, chunk(json!({"content": word}), None)));
                }
            }
            Part::Tool { name, input } => {
                let call = json!({"index": calls, "id": call_id(number, calls), "type": "function",
                    "function": {"name": name, "arguments": input.to_string()}});
                calls += 1;
                events.push((None, chunk(json!({"tool_calls": [call]}), None)));
            }
        }
    }
    let reason = if calls > 0 { "tool_calls" } else { "stop" };
    events.push((None, chunk(json!({}), Some(reason))));
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19});
    events.push((
        None,
        data(&json!({
            "id": format!("chatcmpl-{number}"), "object": "chat.completion.chunk", "created": 0,
            "model": "scripted", "choices": [], "usage": usage,
        })),
    ));
    events.push((None, "data: [DONE]\n\n".to_owned()));
    events
}

/// The same as a stream of the responses API.
pub(super) fn responses(number: usize, parts: Vec<Part>) -> Vec<Held> {
    let id = format!("resp_{number}");
    let mut events = vec![(
        None,
        event(&json!({"type": "response.created", "response": {"id": id}})),
    )];
    for (index, part) in parts.into_iter().enumerate() {
        match part {
            Part::Text { text, held } => events.extend(said(number, index, &text, held.as_ref())),
            Part::Tool { name, input } => {
                let item = json!({"type": "function_call", "id": format!("fc_{number}_{index}"),
                    "call_id": call_id(number, index), "name": name, "arguments": input.to_string()});
                events.push((
                    None,
                    event(&json!({
                        "type": "response.output_item.done", "output_index": index, "item": item,
                    })),
                ));
            }
        }
    }
    let usage = json!({"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 19});
    events.push((
        None,
        event(&json!({
            "type": "response.completed", "response": {"id": id, "usage": usage},
        })),
    ));
    events
}

fn said(
    number: usize,
    index: usize,
    text: &str,
    held: Option<&tokio_util::sync::CancellationToken>,
) -> Vec<Held> {
    let id = format!("msg_{number}_{index}");
    let item = |text: Option<&str>| {
        let content: Vec<Value> = text
            .map(|text| json!({"type": "output_text", "text": text, "annotations": []}))
            .into_iter()
            .collect();
        json!({"type": "message", "id": id, "role": "assistant", "content": content})
    };
    let mut events = vec![(
        None,
        event(&json!({
            "type": "response.output_item.added", "output_index": index, "item": item(None),
        })),
    )];
    for (at, word) in text.split_inclusive(' ').enumerate() {
        let held = held.filter(|_| at > 0).cloned();
        events.push((
            held,
            event(&json!({
                "type": "response.output_text.delta", "item_id": id, "output_index": index,
                "content_index": 0, "delta": word,
            })),
        ));
    }
    events.push((
        None,
        event(&json!({
            "type": "response.output_item.done", "output_index": index, "item": item(Some(text)),
        })),
    ));
    events
}

fn call_id(number: usize, index: usize) -> String {
    format!("call_{number}_{index}")
}

fn event(value: &Value) -> String {
    let kind = value["type"].as_str().unwrap_or_default();
    format!("event: {kind}\ndata: {value}\n\n")
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// `parts` with each call of Bash as a call of the tool in `request` that runs commands, because each
/// agent has its own name for it.
pub(super) fn fitted(parts: Vec<Part>, request: &Value) -> Vec<Part> {
    let fit = |part: Part| match part {
        Part::Tool { name, input } if name == "Bash" => shell(&input, request),
        part => part,
    };
    parts.into_iter().map(fit).collect()
}

fn shell(input: &Value, request: &Value) -> Part {
    let command = &input["command"];
    let inputs = [
        (
            "bash",
            json!({"command": command, "description": input["description"]}),
        ),
        ("exec_command", json!({"cmd": command})),
        ("shell_command", json!({"command": command})),
        ("shell", json!({"command": ["bash", "-c", command]})),
    ];
    let offered = tools(request);
    let found = inputs.into_iter().find(|(name, _)| offered.contains(name));
    let (name, input) = found.expect("the agent offers the model a shell");
    let name = name.to_owned();
    Part::Tool { name, input }
}

/// The names of the tools that a request offers.
fn tools(request: &Value) -> Vec<&str> {
    let tools = request["tools"].as_array().into_iter().flatten();
    tools
        .filter_map(|tool| tool["name"].as_str().or(tool["function"]["name"].as_str()))
        .collect()
}
