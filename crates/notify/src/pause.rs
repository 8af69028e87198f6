//! How long a receiver is left alone after it did not take something.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_secs(1);
/// The longest that we choose.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// The longest that a receiver may choose by `Retry-After`.
const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);

/// After the `failures`-th failure in a row (from 1): twice as long each time, of which `jitter`
/// (0 to 255) takes up to half away; and not less than the receiver asked for, within 15 minutes.
pub(crate) fn pause(failures: u32, asked: Option<Duration>, jitter: u8) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = (FIRST * 2u32.pow(doublings)).min(LONGEST);
    let ours = whole - whole / 2 * u32::from(jitter) / 255;
    ours.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

/// A number that no two receivers draw alike; without randomness, none is needed.
pub(crate) fn jitter() -> u8 {
    let mut byte = [0];
    let drawn = getrandom::fill(&mut byte);
    drawn.map_or(0, |()| byte[0])
}

/// What a `Retry-After` header asks for: seconds, or a date.
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
        fn a_pause_is_never_longer_than_its_bounds_nor_shorter_than_asked(
            failures: u32, asked in proptest::option::of(0..100_000u64), jitter: u8,
        ) {
            let asked = asked.map(Duration::from_secs);
            let took = pause(failures, asked, jitter);
            prop_assert!(took >= FIRST / 2 && took <= LONGEST_ASKED);
            prop_assert!(took >= asked.unwrap_or_default().min(LONGEST_ASKED));
            if asked.is_none() {
                prop_assert!(took <= LONGEST);
            }
        }
    }

    #[test]
    fn pauses_double_and_stop_growing_at_five_minutes() {
        let seconds = |failures| pause(failures, None, 0).as_secs();
        assert_eq!([1, 2, 3, 9, 10, 99].map(seconds), [1, 2, 4, 256, 300, 300]);
        assert_eq!(pause(3, None, 255), Duration::from_secs(2));
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
