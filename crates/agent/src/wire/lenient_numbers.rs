//! Numbers that may have any JSON shape: an odd value becomes zero or none and never fails the line.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_f64())
}

/// A count; 0 if the value is no number.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    // A float-to-integer cast saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(number(deserializer)?.map_or(0, |number| number as u32))
}

/// A duration in milliseconds; zero if the value is negative or no number.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let seconds = number(deserializer)?.unwrap_or(0.0) / 1000.0;
    let too_long = if seconds > 0.0 {
        Duration::MAX
    } else {
        Duration::ZERO
    };
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(too_long))
}

/// An HTTP status; none if the value is no such number.
pub(super) fn http_status<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u16>, D::Error> {
    Ok(to_http_status(&Value::deserialize(deserializer)?))
}

pub(super) fn to_http_status(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|status| u16::try_from(status).ok())
}
