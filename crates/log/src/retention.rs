//! How long closed incidents are kept: the decision, purely.

use jiff::Timestamp;

use crate::tombstone::Removal;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How long closed incidents are kept. Open ones are kept whatever is said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Days after its closing (or its import) for which a closed incident is kept; `0`: for ever.
    pub keep_days: u32,
    /// How many closed incidents are kept, the newest ones; `0`: all.
    pub keep_incidents: u32,
}

/// What the decision rests on.
#[derive(Debug, Clone)]
pub(crate) struct Situation<'a> {
    /// Since when the oldest closed incident is here and closed; RFC 3339.
    pub(crate) oldest: &'a str,
    /// How many closed incidents there are.
    pub(crate) closed: u64,
    /// The store is nearly full.
    pub(crate) pressed: bool,
    pub(crate) now: Timestamp,
}

impl Retention {
    /// Whether the oldest closed incident goes, and why.
    pub(crate) fn removes(self, found: &Situation<'_>) -> Option<Removal> {
        if found.pressed {
            return Some(Removal::Size);
        }
        if self.keep_incidents > 0 && found.closed > u64::from(self.keep_incidents) {
            return Some(Removal::Count);
        }
        let age = found.now.as_millisecond() - millisecond(found.oldest)?;
        let limit = i64::from(self.keep_days) * DAY_MS;
        (self.keep_days > 0 && age > limit).then_some(Removal::Age)
    }
}

/// A time that can't be read is no reason to remove anything.
fn millisecond(at: &str) -> Option<i64> {
    at.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        "2026-11-25T00:00:00Z".parse().unwrap()
    }

    fn ago(ms: i64) -> String {
        Timestamp::from_millisecond(now().as_millisecond() - ms)
            .unwrap()
            .to_string()
    }

    fn situation(oldest: &str, closed: u64, pressed: bool) -> Situation<'_> {
        Situation {
            oldest,
            closed,
            pressed,
            now: now(),
        }
    }

    proptest! {
        #[test]
        fn an_incident_goes_by_age_exactly_after_its_days(days in 1u32..4000, early in 0i64..1_000_000) {
            let keep = Retention { keep_days: days, keep_incidents: 0 };
            let limit = i64::from(days) * DAY_MS;
            prop_assert_eq!(keep.removes(&situation(&ago(limit - early), 9, false)), None);
            prop_assert_eq!(keep.removes(&situation(&ago(limit + 1 + early), 9, false)), Some(Removal::Age));
        }

        #[test]
        fn an_incident_goes_by_count_exactly_above_it(keep_incidents in 1u32..100, closed in 1u64..200) {
            let keep = Retention { keep_days: 0, keep_incidents };
            let wanted = (closed > u64::from(keep_incidents)).then_some(Removal::Count);
            prop_assert_eq!(keep.removes(&situation(&ago(0), closed, false)), wanted);
        }

        #[test]
        fn without_limits_only_a_full_store_removes(age in 0i64..100_000_000_000, closed in 1u64.., pressed: bool) {
            let wanted = pressed.then_some(Removal::Size);
            prop_assert_eq!(Retention::default().removes(&situation(&ago(age), closed, pressed)), wanted);
        }
    }

    #[test]
    fn a_time_that_can_t_be_read_removes_nothing() {
        let keep = Retention {
            keep_days: 1,
            keep_incidents: 0,
        };
        assert_eq!(keep.removes(&situation("yesterday", 1, false)), None);
    }
}
