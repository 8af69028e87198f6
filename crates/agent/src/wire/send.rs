//! What we say to the CLI: one JSON object a line, newline included.

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

fn line(value: &impl Serialize) -> String {
    // None of the shapes below can fail to serialize: no map with keys that are not strings.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

fn control(request: &str, body: &serde_json::Value) -> String {
    line(&json!({"type": "control_request", "request_id": request, "request": body}))
}

/// The first line: asks the CLI to get ready and to say so.
#[must_use]
pub fn initialize(request: &str) -> String {
    control(request, &json!({"subtype": "initialize"}))
}

/// Ends the running turn.
#[must_use]
pub fn interrupt(request: &str) -> String {
    control(request, &json!({"subtype": "interrupt"}))
}

/// Makes `model` answer from the next prompt on.
#[must_use]
pub fn set_model(request: &str, model: &str) -> String {
    control(request, &json!({"subtype": "set_model", "model": model}))
}

/// The operator's words.
#[must_use]
pub fn prompt(text: &str) -> String {
    line(&json!({
        "type": "user",
        "message": {"role": "user", "content": text},
        "parent_tool_use_id": null,
        "session_id": "",
    }))
}

/// Lets a tool run with `input`, which is the question's own.
#[must_use]
pub fn allow(request: &str, input: &RawValue) -> String {
    #[derive(Serialize)]
    struct Allow<'a> {
        behavior: &'static str,
        #[serde(rename = "updatedInput")]
        updated_input: &'a RawValue,
    }
    answer(
        request,
        &Allow {
            behavior: "allow",
            updated_input: input,
        },
    )
}

/// Forbids a tool to run; the model is told `message`.
#[must_use]
pub fn deny(request: &str, message: &str) -> String {
    answer(request, &json!({"behavior": "deny", "message": message}))
}

/// Answers a question of a kind that is not known here, so that the CLI need not wait.
#[must_use]
pub fn refuse(request: &str) -> String {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "error", "request_id": request, "error": "not supported"},
    }))
}

fn answer(request: &str, response: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Answer<'a, R> {
        r#type: &'static str,
        response: Body<'a, R>,
    }
    #[derive(Serialize)]
    struct Body<'a, R> {
        subtype: &'static str,
        request_id: &'a str,
        response: &'a R,
    }
    line(&Answer {
        r#type: "control_response",
        response: Body {
            subtype: "success",
            request_id: request,
            response,
        },
    })
}
