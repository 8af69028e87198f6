//! Time as events write it: UTC, RFC 3339, milliseconds.

use jiff::Timestamp;

/// `at` as events write it, such as `2025-11-24T16:00:00.123Z`.
#[must_use]
pub fn written(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Now, as events write it.
#[must_use]
pub fn now() -> String {
    written(Timestamp::now())
}

/// Milliseconds since 1970 of a time in RFC 3339; none where it is no time.
#[must_use]
pub fn milliseconds(at: &str) -> Option<i64> {
    Some(at.parse::<Timestamp>().ok()?.as_millisecond())
}

/// Whole seconds from `since`, as events write it, to `now`; 0 where it is no time or after `now`.
#[must_use]
pub fn seconds_between(since: &str, now: Timestamp) -> u64 {
    let Ok(since) = since.parse::<Timestamp>() else {
        return 0;
    };
    u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0)
}

/// Milliseconds from `start` to `end`, both as events write them; 0 where one is no time or they are
/// the wrong way round.
#[must_use]
pub fn ms_between(start: &str, end: &str) -> u64 {
    let at = |text: &str| text.parse::<Timestamp>().map(Timestamp::as_millisecond);
    match (at(start), at(end)) {
        (Ok(start), Ok(end)) => (end - start).max(0).cast_unsigned(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_in_utc_with_milliseconds_and_reads_back() {
        let at = Timestamp::from_millisecond(1_764_000_000_123).unwrap();
        assert_eq!(written(at), "2025-11-24T16:00:00.123Z");
        assert_eq!(milliseconds(&written(at)), Some(1_764_000_000_123));
        assert_eq!(milliseconds("soon"), None);
        assert_eq!(seconds_between("2025-11-24T15:59:50.123Z", at), 10);
        assert_eq!(seconds_between("2025-11-24T16:59:50.123Z", at), 0);
        assert_eq!(seconds_between("soon", at), 0);
    }
}
