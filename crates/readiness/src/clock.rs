//! How far another machine's clock is from the server's.

use breakglass_model::clock;

use super::check::Check;

/// More milliseconds than this, and two logs no longer tell what came first.
const APART: i64 = 2_000;
/// More than this, and certificates, tickets and one-time codes begin to fail.
const FAR_APART: i64 = 60_000;

/// When a machine was asked for its time. Its answer was true at some moment from then until it is
/// [`compare`]d.
pub(crate) struct Asked(i64);

/// What a machine told, in milliseconds since 1970: the time, and how much later it may have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    at: i64,
    blur: i64,
}

impl Asked {
    pub(crate) fn now() -> Asked {
        Asked(now())
    }

    /// The check `name` of `machine` (guest or host), whose answer has just come.
    pub(crate) fn compare(&self, name: String, machine: &str, told: Told) -> Check {
        let apart = apart(self.0, told, now());
        let off = apart.abs();
        if off <= APART {
            let evidence = format!("The clocks of {machine} and server agree.");
            return Check::green(name, evidence);
        }
        let (seconds, way) = (off / 1_000, if apart < 0 { "behind" } else { "ahead of" });
        let evidence = format!("The {machine}'s clock is {seconds} s {way} the server's.");
        let remedy =
            format!("on the {machine}, or here if this clock is wrong: timedatectl set-ntp true");
        match off {
            ..=FAR_APART => Check::amber(name, evidence, remedy),
            _ => Check::red(name, evidence, remedy),
        }
    }
}

impl Told {
    /// What `date '+%s %N'` prints; a `date` without nanoseconds prints whole seconds.
    pub(crate) fn by_date(printed: &str) -> Option<Told> {
        let mut words = printed.split_whitespace();
        let seconds: i64 = words.next()?.parse().ok()?;
        let nanoseconds = words.next().filter(|digits| digits.len() == 9);
        let fraction = nanoseconds.and_then(|digits| digits.parse::<i64>().ok());
        Some(Told {
            at: seconds.checked_mul(1_000)? + fraction.map_or(0, |fraction| fraction / 1_000_000),
            blur: fraction.map_or(999, |_| 1),
        })
    }

    /// A time in RFC 3339 with milliseconds.
    pub(crate) fn by_text(text: &str) -> Option<Told> {
        let at = clock::milliseconds(text)?;
        Some(Told { at, blur: 1 })
    }
}

/// By how many milliseconds their clock is at least ahead, or below 0 behind; 0 where asking took so
/// long that it may be right.
fn apart(asked: i64, told: Told, answered: i64) -> i64 {
    let ahead = told.at.saturating_sub(answered).max(0);
    let behind = asked
        .saturating_sub(told.at.saturating_add(told.blur))
        .max(0);
    ahead.saturating_sub(behind)
}

fn now() -> i64 {
    clock::milliseconds(&clock::now()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(at: i64, blur: i64) -> Told {
        Told { at, blur }
    }

    #[test]
    fn the_time_that_asking_took_is_no_difference() {
        assert_eq!(apart(10_000, told(10_500, 1), 11_000), 0);
        assert_eq!(apart(10_000, told(9_000, 999), 10_001), -1);
        assert_eq!(apart(10_000, told(15_000, 1), 11_000), 4_000);
        assert_eq!(apart(10_000, told(5_999, 1), 11_000), -4_000);
    }

    #[test]
    fn a_date_without_nanoseconds_is_read_as_the_whole_second() {
        let told = |at, blur| Some(Told { at, blur });
        assert_eq!(Told::by_date("17 042000000\n"), told(17_042, 1));
        for coarse in ["17\n", "17 N", "17 %N"] {
            assert_eq!(Told::by_date(coarse), told(17_000, 999));
        }
        assert_eq!(Told::by_date("date: not found"), None);
        assert_eq!(Told::by_date("9223372036854775807"), None);
        assert_eq!(Told::by_text("1970-01-01T00:00:17.042Z"), told(17_042, 1));
    }

    #[test]
    fn two_seconds_are_amber_and_a_minute_is_red() {
        let state = |ahead| {
            let asked = Asked::now();
            let told = told(asked.0 + ahead, 1);
            asked.compare("clock".to_owned(), "guest", told).state
        };
        use super::super::check::State::{Amber, Green, Red};
        let found = [-70_000, -5_000, 0, 1_000, 5_000, 70_000].map(state);
        assert_eq!(found, [Red, Amber, Green, Green, Amber, Red]);
    }
}
