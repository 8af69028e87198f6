//! Reads a `result` line leniently: every line that ends a turn must end it here too, however odd its parts are.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::lenient_numbers::to_http_status;
use super::types::{Text, TurnResult};

/// Reads a line of the type `result`; none for any other line.
pub(super) fn read(line: &[u8]) -> Option<TurnResult<'static>> {
    let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
    (fields.get("type")?.as_str()? == "result").then(|| turn_result(&fields))
}

fn turn_result(fields: &Map<String, Value>) -> TurnResult<'static> {
    let text = |name: &str| fields.get(name)?.as_str().map(owned);
    let is_error = match fields.get("is_error") {
        None => false,
        Some(Value::Bool(is_error)) => *is_error,
        // Neither true nor false: count it as a failure.
        Some(_) => true,
    };
    TurnResult {
        subtype: text("subtype"),
        is_error,
        result: text("result"),
        errors: fields.get("errors").map(error_texts).unwrap_or_default(),
        api_error_status: fields.get("api_error_status").and_then(to_http_status),
        total_cost_usd: fields.get("total_cost_usd").and_then(Value::as_f64),
        origin: fields.get("origin").and_then(origin_kind),
    }
}

fn origin_kind(origin: &Value) -> Option<Text<'static>> {
    origin.get("kind")?.as_str().map(owned)
}

fn error_texts(errors: &Value) -> Vec<String> {
    match errors {
        Value::Array(errors) => errors.iter().map(error_text).collect(),
        Value::Null => Vec::new(),
        other => vec![error_text(other)],
    }
}

fn error_text(error: &Value) -> String {
    let text = error
        .as_str()
        .or_else(|| error.get("message").and_then(Value::as_str));
    text.map_or_else(|| error.to_string(), str::to_owned)
}

fn owned(text: &str) -> Text<'static> {
    Text(Cow::Owned(text.to_owned()))
}
