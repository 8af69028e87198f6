//! When a running turn has to be looked after though nothing happens. Pure: the caller says what
//! time it is.

use std::time::Duration;

use tokio::time::Instant;

use super::STOP_GRACE;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The turn has taken as long as it may.
    TimeLimit,
    /// The CLI has been silent for half of what it may be.
    Silent,
    /// The CLI has been silent for as long as it may be.
    SilenceLimit,
    /// The CLI was asked to end the turn, and has not.
    Kill,
}

/// The clocks of one turn.
#[derive(Debug)]
pub(super) struct Alarms {
    began: Instant,
    turn_limit: Duration,
    silence_limit: Duration,
    heard: Instant,
    told_silent: bool,
    asked_to_end: Option<Instant>,
}

impl Alarms {
    pub(super) fn new(now: Instant, turn_limit: Duration, silence_limit: Duration) -> Alarms {
        Alarms {
            began: now,
            turn_limit,
            silence_limit,
            heard: now,
            told_silent: false,
            asked_to_end: None,
        }
    }

    /// Since the turn began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The CLI printed something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.told_silent = false;
    }

    /// The operator was told of the silence.
    pub(super) fn told_silent(&mut self) {
        self.told_silent = true;
    }

    /// The CLI was asked to end the turn. Asking twice gives no second grace.
    pub(super) fn asked_to_end(&mut self, now: Instant) {
        self.asked_to_end.get_or_insert(now);
    }

    /// What is due next, and when. While a tool runs, silence is no sign of anything.
    pub(super) fn next(&self, tool_runs: bool) -> (Instant, Alarm) {
        if let Some(asked) = self.asked_to_end {
            return (asked + STOP_GRACE, Alarm::Kill);
        }
        let limit = (self.began + self.turn_limit, Alarm::TimeLimit);
        let silence = match (tool_runs, self.told_silent) {
            (true, _) => return limit,
            (false, false) => (self.heard + self.silence_limit / 2, Alarm::Silent),
            (false, true) => (self.heard + self.silence_limit, Alarm::SilenceLimit),
        };
        if silence.0 < limit.0 { silence } else { limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn alarms(now: Instant) -> Alarms {
        Alarms::new(now, 100 * SECOND, 10 * SECOND)
    }

    #[test]
    fn silence_is_told_at_half_and_ends_the_cli_at_the_limit() {
        let now = Instant::now();
        let mut alarms = alarms(now);
        assert_eq!(alarms.next(false), (now + 5 * SECOND, Alarm::Silent));
        alarms.told_silent();
        assert_eq!(alarms.next(false), (now + 10 * SECOND, Alarm::SilenceLimit));
        alarms.heard(now + 7 * SECOND);
        assert_eq!(alarms.next(false), (now + 12 * SECOND, Alarm::Silent));
    }

    #[test]
    fn a_running_tool_may_be_silent_up_to_the_turns_limit() {
        let now = Instant::now();
        assert_eq!(
            alarms(now).next(true),
            (now + 100 * SECOND, Alarm::TimeLimit)
        );
    }

    #[test]
    fn a_second_stop_does_not_prolong_the_grace() {
        let now = Instant::now();
        let mut alarms = alarms(now);
        alarms.asked_to_end(now);
        alarms.asked_to_end(now + SECOND);
        assert_eq!(alarms.next(true), (now + STOP_GRACE, Alarm::Kill));
    }
}
