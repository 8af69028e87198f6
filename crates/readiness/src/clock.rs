//! Checks of the clocks: the difference between the clock of a guest or host and the server's.

use breakglass_model::clock;

use super::check::Check;

/// Above this difference, the order of events in two logs is unclear.
const AMBER_DIFFERENCE_MS: i64 = 2_000;
/// Above this difference, certificates, tickets and one-time codes begin to fail.
const RED_DIFFERENCE_MS: i64 = 60_000;

/// The moment at which a machine was asked for its time, in milliseconds since 1970. The answer was correct at some
/// moment between this one and [`TimeQuery::compare`].
pub(crate) struct TimeQuery(i64);

/// The time that a machine reported, in milliseconds since 1970. Its real time was up to `precision` later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReportedTime {
    at: i64,
    precision: i64,
}

impl TimeQuery {
    pub(crate) fn now() -> TimeQuery {
        TimeQuery(now())
    }

    /// The check `name` of `machine` (guest or host), whose answer has just arrived.
    pub(crate) fn compare(&self, name: String, machine: &str, reported: ReportedTime) -> Check {
        let difference = difference(self.0, reported, now());
        let size = difference.abs();
        if size <= AMBER_DIFFERENCE_MS {
            let evidence = format!("The clocks of {machine} and server agree.");
            return Check::green(name, evidence);
        }
        let seconds = size / 1_000;
        let direction = if difference < 0 { "behind" } else { "ahead of" };
        let evidence = format!("The {machine}'s clock is {seconds} s {direction} the server's.");
        let remedy =
            format!("on the {machine}, or here if this clock is wrong: timedatectl set-ntp true");
        match size {
            ..=RED_DIFFERENCE_MS => Check::amber(name, evidence, remedy),
            _ => Check::red(name, evidence, remedy),
        }
    }
}

impl ReportedTime {
    /// Parses the output of `date '+%s %N'`; a `date` without nanoseconds prints only seconds.
    pub(crate) fn from_date(printed: &str) -> Option<ReportedTime> {
        let mut words = printed.split_whitespace();
        let seconds: i64 = words.next()?.parse().ok()?;
        let nanoseconds = words.next().filter(|digits| digits.len() == 9);
        let fraction = nanoseconds.and_then(|digits| digits.parse::<i64>().ok());
        Some(ReportedTime {
            at: seconds.checked_mul(1_000)? + fraction.map_or(0, |fraction| fraction / 1_000_000),
            precision: fraction.map_or(999, |_| 1),
        })
    }

    /// Parses a time in RFC 3339 with milliseconds.
    pub(crate) fn from_rfc3339(text: &str) -> Option<ReportedTime> {
        let at = clock::milliseconds(text)?;
        Some(ReportedTime { at, precision: 1 })
    }
}

/// How many milliseconds the reported clock is ahead at least; negative if it is behind. 0 if the query took so long
/// that the clock may be correct.
fn difference(asked: i64, reported: ReportedTime, answered: i64) -> i64 {
    let ahead = reported.at.saturating_sub(answered).max(0);
    let behind = asked
        .saturating_sub(reported.at.saturating_add(reported.precision))
        .max(0);
    ahead.saturating_sub(behind)
}

fn now() -> i64 {
    clock::milliseconds(&clock::now()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(at: i64, precision: i64) -> ReportedTime {
        ReportedTime { at, precision }
    }

    #[test]
    fn duration_of_the_query_is_no_difference() {
        assert_eq!(difference(10_000, reported(10_500, 1), 11_000), 0);
        assert_eq!(difference(10_000, reported(9_000, 999), 10_001), -1);
        assert_eq!(difference(10_000, reported(15_000, 1), 11_000), 4_000);
        assert_eq!(difference(10_000, reported(5_999, 1), 11_000), -4_000);
    }

    #[test]
    fn date_without_nanoseconds_is_read_as_a_whole_second() {
        let reported = |at, precision| Some(ReportedTime { at, precision });
        assert_eq!(
            ReportedTime::from_date("17 042000000\n"),
            reported(17_042, 1)
        );
        for coarse in ["17\n", "17 N", "17 %N"] {
            assert_eq!(ReportedTime::from_date(coarse), reported(17_000, 999));
        }
        assert_eq!(ReportedTime::from_date("date: not found"), None);
        assert_eq!(ReportedTime::from_date("9223372036854775807"), None);
        assert_eq!(
            ReportedTime::from_rfc3339("1970-01-01T00:00:17.042Z"),
            reported(17_042, 1)
        );
    }

    #[test]
    fn difference_over_two_seconds_is_amber_and_over_a_minute_red() {
        let state = |ahead| {
            let asked = TimeQuery::now();
            let time = reported(asked.0 + ahead, 1);
            asked.compare("clock".to_owned(), "guest", time).state
        };
        use super::super::check::State::{Amber, Green, Red};
        let found = [-70_000, -5_000, 0, 1_000, 5_000, 70_000].map(state);
        assert_eq!(found, [Red, Amber, Green, Green, Amber, Red]);
    }
}
