//! How long closed incidents are kept: the decision, purely.

use breakglass_model::Time;

use crate::tombstone::RemovalReason;

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
pub(crate) struct Situation {
    /// When the oldest closed incident was closed or imported; none if unreadable.
    pub(crate) oldest: Option<Time>,
    /// How many closed incidents there are.
    pub(crate) closed: u64,
    /// The store is nearly full.
    pub(crate) nearly_full: bool,
    pub(crate) now: Time,
}

impl Retention {
    /// Whether the oldest closed incident goes, and why.
    pub(crate) fn removes(self, found: &Situation) -> Option<RemovalReason> {
        if found.nearly_full {
            return Some(RemovalReason::Size);
        }
        if self.keep_incidents > 0 && found.closed > u64::from(self.keep_incidents) {
            return Some(RemovalReason::Count);
        }
        let age = found.now.as_millisecond() - found.oldest?.as_millisecond();
        let limit = i64::from(self.keep_days) * DAY_MS;
        (self.keep_days > 0 && age > limit).then_some(RemovalReason::Age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Time {
        "2026-11-25T00:00:00Z".parse().unwrap()
    }

    fn ago(ms: i64) -> Option<Time> {
        now().checked_add(jiff::SignedDuration::from_millis(-ms))
    }

    fn situation(oldest: Option<Time>, closed: u64, nearly_full: bool) -> Situation {
        Situation {
            oldest,
            closed,
            nearly_full,
            now: now(),
        }
    }

    proptest! {
        #[test]
        fn an_incident_goes_by_age_exactly_after_its_days(days in 1u32..4000, early in 0i64..1_000_000) {
            let keep = Retention { keep_days: days, keep_incidents: 0 };
            let limit = i64::from(days) * DAY_MS;
            prop_assert_eq!(keep.removes(&situation(ago(limit - early), 9, false)), None);
            prop_assert_eq!(keep.removes(&situation(ago(limit + 1 + early), 9, false)), Some(RemovalReason::Age));
        }

        #[test]
        fn an_incident_goes_by_count_exactly_above_it(keep_incidents in 1u32..100, closed in 1u64..200) {
            let keep = Retention { keep_days: 0, keep_incidents };
            let wanted = (closed > u64::from(keep_incidents)).then_some(RemovalReason::Count);
            prop_assert_eq!(keep.removes(&situation(ago(0), closed, false)), wanted);
        }

        #[test]
        fn without_limits_only_a_full_store_removes(age in 0i64..100_000_000_000, closed in 1u64.., nearly_full: bool) {
            let wanted = nearly_full.then_some(RemovalReason::Size);
            prop_assert_eq!(Retention::default().removes(&situation(ago(age), closed, nearly_full)), wanted);
        }
    }

    #[test]
    fn a_time_that_can_t_be_read_removes_nothing() {
        let keep = Retention {
            keep_days: 1,
            keep_incidents: 0,
        };
        assert_eq!(keep.removes(&situation(None, 1, false)), None);
    }
}
