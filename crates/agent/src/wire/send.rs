//! The lines that we send to the CLI: one JSON object each, newline included.

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

fn line(value: &impl Serialize) -> String {
    // Cannot fail: every map below has string keys.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

fn control(request: &str, body: &serde_json::Value) -> String {
    line(&json!({"type": "control_request", "request_id": request, "request": body}))
}

/// The first line: the CLI responds to it when it is ready.
#[must_use]
pub fn initialize(request: &str) -> String {
    control(request, &json!({"subtype": "initialize"}))
}

/// Ends the running turn.
#[must_use]
pub fn interrupt(request: &str) -> String {
    control(request, &json!({"subtype": "interrupt"}))
}

/// Uses `model` from the next prompt on.
#[must_use]
pub fn set_model(request: &str, model: &str) -> String {
    control(request, &json!({"subtype": "set_model", "model": model}))
}

/// The operator's prompt.
#[must_use]
pub fn prompt(text: &str) -> String {
    line(&json!({
        "type": "user",
        "message": {"role": "user", "content": text},
        "parent_tool_use_id": null,
        "session_id": "",
    }))
}

/// Lets a tool run; `input` is the request's own.
#[must_use]
pub fn allow(request: &str, input: &RawValue) -> String {
    #[derive(Serialize)]
    struct Allow<'a> {
        behavior: &'static str,
        #[serde(rename = "updatedInput")]
        updated_input: &'a RawValue,
    }
    respond(
        request,
        &Allow {
            behavior: "allow",
            updated_input: input,
        },
    )
}

/// Forbids a tool to run; the model gets `message` as its result.
#[must_use]
pub fn deny(request: &str, message: &str) -> String {
    respond(request, &json!({"behavior": "deny", "message": message}))
}

/// Responds to a request of an unknown kind, so that the CLI does not wait.
#[must_use]
pub fn refuse(request: &str) -> String {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "error", "request_id": request, "error": "not supported"},
    }))
}

fn respond(request: &str, response: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Response<'a, R> {
        r#type: &'static str,
        response: Body<'a, R>,
    }
    #[derive(Serialize)]
    struct Body<'a, R> {
        subtype: &'static str,
        request_id: &'a str,
        response: &'a R,
    }
    line(&Response {
        r#type: "control_response",
        response: Body {
            subtype: "success",
            request_id: request,
            response,
        },
    })
}
