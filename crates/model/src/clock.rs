//! Time as text, for records that are not events. New code uses [`Time`].

use jiff::Timestamp;

use crate::time::Time;

/// The current time, as events write it.
#[must_use]
pub fn now() -> String {
    Time::now().to_string()
}

/// Milliseconds since 1970 of a time in RFC 3339; none if the text is not a time.
#[must_use]
pub fn milliseconds(at: &str) -> Option<i64> {
    Some(at.parse::<Time>().ok()?.as_millisecond())
}

/// Whole seconds from `since` to `now`; 0 if `since` is not a time or is after `now`.
#[must_use]
pub fn seconds_between(since: &str, now: Timestamp) -> u64 {
    let since = since.parse::<Time>();
    since.map_or(0, |since| Time::from(now).seconds_since(since))
}
