//! The Messages API: its stream of events.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Part;
use super::dialect::Held;

/// The events of the answer to request `number`.
pub(super) fn events(number: usize, parts: Vec<Part>) -> Vec<Held> {
    let named = |(held, event): Timed| {
        let kind = event["type"].as_str().unwrap_or_default();
        (held, format!("event: {kind}\ndata: {event}\n\n"))
    };
    answer(number, parts).into_iter().map(named).collect()
}

/// An event, and the condition it waits for.
type Timed = (Option<CancellationToken>, Value);

fn answer(number: usize, parts: Vec<Part>) -> Vec<Timed> {
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

/// The empty block at its start, and the deltas that fill it.
fn block(id: &str, part: Part) -> (Value, Vec<Timed>) {
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
