//! stream-json from its other end: what the server says, and what the claude CLI would say.

use serde_json::{Value, json};

/// What the server says.
#[derive(Debug)]
pub(crate) enum Said {
    /// It asks the bridge itself for something, which is to be answered by this name.
    Control(String, Control),
    /// The answer to a question: whether the tool may run; if not, why.
    Ruled(String, Result<(), String>),
    /// The operator's words.
    Prompt(String),
    /// Nothing that is known here.
    Unknown,
}

#[derive(Debug)]
pub(crate) enum Control {
    Initialize,
    Interrupt,
    SetModel(String),
    Unknown,
}

/// Reads one line of the server's.
pub(crate) fn read(line: &[u8]) -> Said {
    let line: Value = serde_json::from_slice(line).unwrap_or_default();
    match line["type"].as_str() {
        Some("control_request") => control(&line),
        Some("control_response") => ruled(&line["response"]),
        Some("user") => prompt(&line["message"]["content"]).map_or(Said::Unknown, Said::Prompt),
        _ => Said::Unknown,
    }
}

fn control(line: &Value) -> Said {
    let Some(name) = line["request_id"].as_str() else {
        return Said::Unknown;
    };
    let request = &line["request"];
    let control = match (request["subtype"].as_str(), request["model"].as_str()) {
        (Some("initialize"), _) => Control::Initialize,
        (Some("interrupt"), _) => Control::Interrupt,
        (Some("set_model"), Some(model)) => Control::SetModel(model.to_owned()),
        _ => Control::Unknown,
    };
    Said::Control(name.to_owned(), control)
}

/// Whatever is not plainly leave is none.
fn ruled(response: &Value) -> Said {
    let Some(name) = response["request_id"].as_str() else {
        return Said::Unknown;
    };
    let leave = match response["response"]["behavior"].as_str() {
        Some("allow") if response["subtype"] == "success" => Ok(()),
        _ => {
            let why = &response["response"]["message"];
            let why = why.as_str().or(response["error"].as_str());
            Err(why.unwrap_or("It was not allowed.").to_owned())
        }
    };
    Said::Ruled(name.to_owned(), leave)
}

fn prompt(content: &Value) -> Option<String> {
    if let Some(text) = content.as_str() {
        return Some(text.to_owned());
    }
    let parts = content.as_array()?.iter();
    let texts: Vec<&str> = parts.filter_map(|part| part["text"].as_str()).collect();
    Some(texts.join("\n"))
}

/// One line, with its kind first, as the CLI has it: the server reads that way faster.
fn line(kind: &str, rest: &Value) -> String {
    let rest = rest.to_string();
    format!("{{\"type\":\"{kind}\",{}\n", rest.get(1..).unwrap_or("}"))
}

pub(crate) fn done(name: &str) -> String {
    let response = json!({"subtype": "success", "request_id": name, "response": {}});
    line("control_response", &json!({"response": response}))
}

pub(crate) fn failed(name: &str, why: &str) -> String {
    let response = json!({"subtype": "error", "request_id": name, "error": why});
    line("control_response", &json!({"response": response}))
}

pub(crate) fn began(session: &str, model: &str) -> String {
    let init = json!({"subtype": "init", "session_id": session, "model": model});
    line("system", &init)
        + &line(
            "system",
            &json!({"subtype": "status", "status": "requesting"}),
        )
}

/// It lives, and says nothing that concerns anybody.
pub(crate) fn alive() -> String {
    line("keep_alive", &json!({"uuid": null}))
}

pub(crate) fn typed(text: &str) -> String {
    let delta = json!({"type": "text_delta", "text": text});
    let event = json!({"type": "content_block_delta", "index": 0, "delta": delta});
    line("stream_event", &json!({"event": event}))
}

pub(crate) fn said(model: &str, text: &str) -> String {
    assistant(model, &json!({"type": "text", "text": text}), &Value::Null)
}

/// The bridge speaks in the model's place, of a failure of this kind.
pub(crate) fn said_of_failure(kind: &str, text: &str) -> String {
    let block = json!({"type": "text", "text": text});
    assistant("<synthetic>", &block, &json!(kind))
}

pub(crate) fn called(model: &str, id: &str, tool: &str, input: &Value) -> String {
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

pub(crate) fn returned(id: &str, output: &str, is_error: bool) -> String {
    let block = json!({
        "type": "tool_result", "tool_use_id": id, "content": output, "is_error": is_error,
    });
    let message = json!({"role": "user", "content": [block]});
    line("user", &json!({"message": message}))
}

pub(crate) fn ask(name: &str, id: &str, tool: &str, input: &Value) -> String {
    let request = json!({
        "subtype": "can_use_tool", "tool_name": tool, "input": input, "tool_use_id": id,
    });
    line(
        "control_request",
        &json!({"request_id": name, "request": request}),
    )
}

pub(crate) fn withdraw(name: &str) -> String {
    line("control_cancel_request", &json!({"request_id": name}))
}

/// The model failed, and the agent asks it again.
pub(crate) fn retries(attempt: u32, max: u32, status: Option<u16>, why: &str) -> String {
    line(
        "system",
        &json!({
            "subtype": "api_retry", "attempt": attempt, "max_retries": max, "retry_delay_ms": 0,
            "error_status": status, "error": why,
        }),
    )
}

/// How a turn went.
#[derive(Debug, Default)]
pub(crate) struct Ending<'a> {
    pub(crate) subtype: &'a str,
    pub(crate) is_error: bool,
    pub(crate) result: &'a str,
    pub(crate) error: Option<&'a str>,
    pub(crate) status: Option<u16>,
    pub(crate) cost: Option<f64>,
}

pub(crate) fn ended(session: &str, ending: &Ending<'_>) -> String {
    let errors: Vec<&str> = ending.error.into_iter().collect();
    line(
        "result",
        &json!({
            "subtype": ending.subtype, "is_error": ending.is_error, "result": ending.result,
            "errors": errors, "api_error_status": ending.status, "total_cost_usd": ending.cost,
            "session_id": session,
        }),
    )
}
