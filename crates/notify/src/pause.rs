//! The pause between attempts to reach a receiver.

use std::time::Duration;

/// Pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Maximum pause, unless the receiver asks for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// Maximum pause that a receiver can ask for with `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// The pause after `failures` consecutive failures (from 1). It doubles each time; `jitter` (0 to 255) removes up
/// to half of it. It is at least what the receiver `requested`, of which at most 15 minutes count.
pub(crate) fn pause(failures: u32, requested: Duration, jitter: u8) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = (FIRST_PAUSE * 2u32.pow(doublings)).min(PAUSE_MAX);
    let own = whole - whole / 2 * u32::from(jitter) / 255;
    own.max(requested.min(RETRY_AFTER_MAX))
}

/// A random number, so that receivers are not all retried at the same moment; 0 without randomness.
pub(crate) fn jitter() -> u8 {
    let mut byte = [0];
    let drawn = getrandom::fill(&mut byte);
    drawn.map_or(0, |()| byte[0])
}

/// Parses a `Retry-After` header: seconds, or a date.
pub(crate) fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pause_is_within_its_bounds_and_not_shorter_than_requested(
            failures: u32, requested in 0..100_000u64, jitter: u8,
        ) {
            let requested = Duration::from_secs(requested);
            let took = pause(failures, requested, jitter);
            prop_assert!(took >= FIRST_PAUSE / 2 && took <= RETRY_AFTER_MAX);
            prop_assert!(took >= requested.min(RETRY_AFTER_MAX));
            prop_assert!(pause(failures, Duration::ZERO, jitter) <= PAUSE_MAX);
        }
    }

    #[test]
    fn pauses_double_and_stop_growing_at_five_minutes() {
        let seconds = |failures| pause(failures, Duration::ZERO, 0).as_secs();
        assert_eq!([1, 2, 3, 9, 10, 99].map(seconds), [1, 2, 4, 256, 300, 300]);
        assert_eq!(pause(3, Duration::ZERO, 255), Duration::from_secs(2));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2015-10-21T07:27:00Z".parse().unwrap();
        let after = |text| retry_after(text, now);
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            after("Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::from_secs(60))
        );
        assert_eq!(after("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }
}
