//! stream-json from the CLI's side: reads the server's lines, and writes those that the claude CLI would print.

use serde_json::{Value, json};

/// A line of the server.
#[derive(Debug)]
pub(crate) enum ServerLine {
    /// A request to the bridge itself, with its id.
    Control(String, Control),
    /// The permission for a tool use, by the id of our request; the error is the reason of a denial.
    Permission(String, Result<(), String>),
    /// The operator's prompt.
    Prompt(String),
    Unknown,
}

#[derive(Debug)]
pub(crate) enum Control {
    Initialize,
    Interrupt,
    SetModel(String),
    Unknown,
}

/// Reads one line of the server.
pub(crate) fn read(line: &[u8]) -> ServerLine {
    let line: Value = serde_json::from_slice(line).unwrap_or_default();
    match line["type"].as_str() {
        Some("control_request") => control(&line),
        Some("control_response") => permission(&line["response"]),
        Some("user") => {
            prompt(&line["message"]["content"]).map_or(ServerLine::Unknown, ServerLine::Prompt)
        }
        _ => ServerLine::Unknown,
    }
}

fn control(line: &Value) -> ServerLine {
    let Some(name) = line["request_id"].as_str() else {
        return ServerLine::Unknown;
    };
    let request = &line["request"];
    let control = match (request["subtype"].as_str(), request["model"].as_str()) {
        (Some("initialize"), _) => Control::Initialize,
        (Some("interrupt"), _) => Control::Interrupt,
        (Some("set_model"), Some(model)) => Control::SetModel(model.to_owned()),
        _ => Control::Unknown,
    };
    ServerLine::Control(name.to_owned(), control)
}

/// Denied, unless the response clearly allows it.
fn permission(response: &Value) -> ServerLine {
    let Some(name) = response["request_id"].as_str() else {
        return ServerLine::Unknown;
    };
    let permission = match response["response"]["behavior"].as_str() {
        Some("allow") if response["subtype"] == "success" => Ok(()),
        _ => {
            let reason = &response["response"]["message"];
            let reason = reason.as_str().or(response["error"].as_str());
            Err(reason.unwrap_or("It was not allowed.").to_owned())
        }
    };
    ServerLine::Permission(name.to_owned(), permission)
}

fn prompt(content: &Value) -> Option<String> {
    if let Some(text) = content.as_str() {
        return Some(text.to_owned());
    }
    let parts = content.as_array()?.iter();
    let texts: Vec<&str> = parts.filter_map(|part| part["text"].as_str()).collect();
    Some(texts.join("\n"))
}

/// One line with its type first, as the CLI writes it.
fn line(kind: &str, rest: &Value) -> String {
    let rest = rest.to_string();
    format!("{{\"type\":\"{kind}\",{}\n", rest.get(1..).unwrap_or("}"))
}

pub(crate) fn succeeded(name: &str) -> String {
    let response = json!({"subtype": "success", "request_id": name, "response": {}});
    line("control_response", &json!({"response": response}))
}

pub(crate) fn failed(name: &str, reason: &str) -> String {
    let response = json!({"subtype": "error", "request_id": name, "error": reason});
    line("control_response", &json!({"response": response}))
}

pub(crate) fn turn_began(session: &str, model: &str) -> String {
    let init = json!({"subtype": "init", "session_id": session, "model": model});
    line("system", &init)
        + &line(
            "system",
            &json!({"subtype": "status", "status": "requesting"}),
        )
}

/// Shows that the agent is alive, and nothing else.
pub(crate) fn keep_alive() -> String {
    line("keep_alive", &json!({"uuid": null}))
}

pub(crate) fn text_delta(text: &str) -> String {
    let delta = json!({"type": "text_delta", "text": text});
    let event = json!({"type": "content_block_delta", "index": 0, "delta": delta});
    line("stream_event", &json!({"event": event}))
}

pub(crate) fn text(model: &str, text: &str) -> String {
    assistant(model, &json!({"type": "text", "text": text}), &Value::Null)
}

/// A text of the bridge in the model's place about a failure of this kind.
pub(crate) fn failure_text(kind: &str, text: &str) -> String {
    let block = json!({"type": "text", "text": text});
    assistant("<synthetic>", &block, &json!(kind))
}

pub(crate) fn tool_call(model: &str, id: &str, tool: &str, input: &Value) -> String {
    let block = json!({"type": "tool_use", "id": id, "name": tool, "input": input});
    assistant(model, &block, &Value::Null)
}

fn assistant(model: &str, block: &Value, error: &Value) -> String {
    let message = json!({"model": model, "role": "assistant", "content": [block]});
    let mut rest = json!({"message": message});
    if !error.is_null() {
        rest["error"] = error.clone();
    }
    line("assistant", &rest)
}

pub(crate) fn tool_result(id: &str, output: &str, is_error: bool) -> String {
    let block = json!({
        "type": "tool_result", "tool_use_id": id, "content": output, "is_error": is_error,
    });
    let message = json!({"role": "user", "content": [block]});
    line("user", &json!({"message": message}))
}

pub(crate) fn permission_request(name: &str, id: &str, tool: &str, input: &Value) -> String {
    let request = json!({
        "subtype": "can_use_tool", "tool_name": tool, "input": input, "tool_use_id": id,
    });
    line(
        "control_request",
        &json!({"request_id": name, "request": request}),
    )
}

pub(crate) fn cancel_request(name: &str) -> String {
    line("control_cancel_request", &json!({"request_id": name}))
}

/// The model failed, and the agent retries.
pub(crate) fn retry(attempt: u32, max: u32, status: Option<u16>, reason: &str) -> String {
    line(
        "system",
        &json!({
            "subtype": "api_retry", "attempt": attempt, "max_retries": max, "retry_delay_ms": 0,
            "error_status": status, "error": reason,
        }),
    )
}

/// The result of a turn.
#[derive(Debug, Default)]
pub(crate) struct TurnResult<'a> {
    pub(crate) subtype: &'a str,
    pub(crate) is_error: bool,
    pub(crate) result: &'a str,
    pub(crate) error: Option<&'a str>,
    pub(crate) status: Option<u16>,
    pub(crate) cost: Option<f64>,
}

pub(crate) fn turn_result(session: &str, result: &TurnResult<'_>) -> String {
    let errors: Vec<&str> = result.error.into_iter().collect();
    line(
        "result",
        &json!({
            "subtype": result.subtype, "is_error": result.is_error, "result": result.result,
            "errors": errors, "api_error_status": result.status, "total_cost_usd": result.cost,
            "session_id": session,
        }),
    )
}
