//! Time as events write it: UTC, RFC 3339, milliseconds, such as `2025-11-24T16:00:00.123Z`.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ts_rs::TS;

/// A moment, in whole milliseconds; UTC, RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, TS)]
#[ts(export, type = "string")]
pub struct Time(Timestamp);

impl Time {
    /// The current time.
    #[must_use]
    pub fn now() -> Time {
        Timestamp::now().into()
    }

    /// The same moment as jiff's type.
    #[must_use]
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn as_millisecond(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Milliseconds from `earlier` to this time; 0 if `earlier` is later.
    #[must_use]
    pub fn ms_since(self, earlier: Time) -> u64 {
        let ms = self.as_millisecond() - earlier.as_millisecond();
        ms.max(0).cast_unsigned()
    }

    /// Whole seconds from `earlier` to this time; 0 if `earlier` is later.
    #[must_use]
    pub fn seconds_since(self, earlier: Time) -> u64 {
        self.ms_since(earlier) / 1_000
    }

    /// This time plus `duration`; none beyond the year 9999.
    #[must_use]
    pub fn checked_add(self, duration: SignedDuration) -> Option<Time> {
        Some(self.0.checked_add(duration).ok()?.into())
    }

    /// The time of day, such as `16:00:00`.
    #[must_use]
    pub fn time_of_day(self) -> String {
        self.0.strftime("%H:%M:%S").to_string()
    }
}

impl From<Timestamp> for Time {
    /// Drops what is less than a millisecond.
    fn from(at: Timestamp) -> Time {
        Time(Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Time, jiff::Error> {
        Ok(text.parse::<Timestamp>()?.into())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| {
            serde::de::Error::custom(format!("{text:?} is not a time in RFC 3339: {error}"))
        })
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "2025-11-24T16:00:00.123Z";

    #[test]
    fn time_is_written_in_utc_with_milliseconds_and_reads_back() {
        let at = Timestamp::from_nanosecond(1_764_000_000_123_999_999).unwrap();
        let at = Time::from(at);
        assert_eq!(at.to_string(), WRITTEN);
        assert_eq!(at.time_of_day(), "16:00:00");
        let json = serde_json::to_string(&at).unwrap();
        assert_eq!(json, format!("{WRITTEN:?}"));
        assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), at);
        let refused = serde_json::from_str::<Time>("\"soon\"").unwrap_err();
        assert!(refused.to_string().contains("\"soon\" is not a time"));
    }

    #[test]
    fn time_between_two_moments_is_never_negative() {
        let later: Time = WRITTEN.parse().unwrap();
        let earlier: Time = "2025-11-24T15:59:50.122Z".parse().unwrap();
        assert_eq!(later.ms_since(earlier), 10_001);
        assert_eq!(later.seconds_since(earlier), 10);
        assert_eq!(earlier.seconds_since(later), 0);
        assert!(earlier < later);
    }
}
