//! Parts of a line that may be of any shape: what is odd in one of them costs nothing else.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::types::{Ending, Text};

fn number<'de, D: Deserializer<'de>>(part: D) -> Result<Option<f64>, D::Error> {
    Ok(Value::deserialize(part)?.as_f64())
}

/// A count; 0 where it is none.
pub(super) fn whole<'de, D: Deserializer<'de>>(part: D) -> Result<u32, D::Error> {
    // A cast keeps within the bounds of its type, whatever comes.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(number(part)?.map_or(0, |number| number as u32))
}

/// A span in milliseconds; none of it where it is negative or no number.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(part: D) -> Result<Duration, D::Error> {
    let seconds = number(part)?.unwrap_or(0.0) / 1000.0;
    // Longer than can be told is as long as can be told.
    Ok(
        Duration::try_from_secs_f64(seconds).unwrap_or(if seconds > 0.0 {
            Duration::MAX
        } else {
            Duration::ZERO
        }),
    )
}

/// A status of HTTP.
pub(super) fn status<'de, D: Deserializer<'de>>(part: D) -> Result<Option<u16>, D::Error> {
    Ok(status_of(&Value::deserialize(part)?))
}

fn status_of(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|status| u16::try_from(status).ok())
}

/// A line that says that it is a `result`, whatever else is odd in it.
pub(super) fn result(line: &[u8]) -> Option<Ending<'static>> {
    let parts: Map<String, Value> = serde_json::from_slice(line).ok()?;
    (parts.get("type")?.as_str()? == "result").then(|| ending(&parts))
}

/// A `result`, part by part. What says neither yes nor no to whether it failed, says yes.
fn ending(parts: &Map<String, Value>) -> Ending<'static> {
    let text = |name: &str| parts.get(name)?.as_str().map(own);
    let is_error = match parts.get("is_error") {
        None => false,
        Some(Value::Bool(failed)) => *failed,
        Some(_) => true,
    };
    Ending {
        subtype: text("subtype"),
        is_error,
        result: text("result"),
        errors: parts.get("errors").map(sentences).unwrap_or_default(),
        api_error_status: parts.get("api_error_status").and_then(status_of),
        total_cost_usd: parts.get("total_cost_usd").and_then(Value::as_f64),
        origin: parts.get("origin").and_then(kind),
    }
}

/// Who began it, as an object of a kind.
fn kind(origin: &Value) -> Option<Text<'static>> {
    origin.get("kind")?.as_str().map(own)
}

fn sentences(errors: &Value) -> Vec<String> {
    let said = |error: &Value| {
        let text = error.as_str().or_else(|| error.get("message")?.as_str());
        text.map_or_else(|| error.to_string(), str::to_owned)
    };
    match errors {
        Value::Array(errors) => errors.iter().map(said).collect(),
        Value::Null => Vec::new(),
        other => vec![said(other)],
    }
}

fn own(text: &str) -> Text<'static> {
    Text(Cow::Owned(text.to_owned()))
}
