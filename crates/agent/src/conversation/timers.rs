//! The timers of a running turn: when to act although nothing happens. The caller passes the current time.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::Line;

/// Time between an interrupt and the kill.
const INTERRUPT_GRACE: Duration = Duration::from_secs(3);
/// How long the CLI may print nothing while it compacts the conversation.
const COMPACTION_LIMIT: Duration = Duration::from_secs(10 * 60);

/// A timer that can expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// The turn has reached its maximum duration.
    TurnLimit,
    /// The CLI has been silent for half of the limit.
    SilenceWarning,
    /// The CLI has been silent for too long.
    SilenceLimit,
    /// The CLI did not end the turn after an interrupt.
    InterruptGrace,
}

/// The timers of one turn.
#[derive(Debug)]
pub(super) struct Timers {
    began: Instant,
    turn_limit: Duration,
    silence_limit: Duration,
    last_line: Instant,
    /// End of a silence that the CLI announced.
    quiet_until: Option<Instant>,
    is_compacting: bool,
    is_silence_warned: bool,
    interrupted: Option<Instant>,
}

impl Timers {
    pub(super) fn new(now: Instant, turn_limit: Duration, silence_limit: Duration) -> Timers {
        Timers {
            began: now,
            turn_limit,
            silence_limit,
            last_line: now,
            quiet_until: None,
            is_compacting: false,
            is_silence_warned: false,
            interrupted: None,
        }
    }

    /// Time since the turn began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The CLI printed `line`, which may announce a silence, or end one. No silence may last longer than the turn,
    /// nor a compaction longer than [`COMPACTION_LIMIT`], however often it is announced.
    pub(super) fn line_received(&mut self, now: Instant, line: &Line<'_>) {
        self.last_line = now;
        self.is_silence_warned = false;
        match line {
            Line::ApiRetry(retry) => self.expect_silence(now, retry.delay),
            Line::Status(status) if status.is_compacting() => {
                if !self.is_compacting {
                    self.expect_silence(now, COMPACTION_LIMIT);
                }
                self.is_compacting = true;
            }
            Line::Ignored | Line::Unknown | Line::Init { .. } => {}
            _ => {
                self.quiet_until = None;
                self.is_compacting = false;
            }
        }
    }

    fn expect_silence(&mut self, now: Instant, duration: Duration) {
        self.is_compacting = false;
        self.quiet_until = Some(now + duration.min(self.turn_limit));
    }

    /// The operator was warned about the silence.
    pub(super) fn silence_warned(&mut self) {
        self.is_silence_warned = true;
    }

    /// The CLI was asked to end the turn. A second interrupt does not extend the grace period.
    pub(super) fn interrupted(&mut self, now: Instant) {
        self.interrupted.get_or_insert(now);
    }

    /// The next timer, and when it expires. While a tool runs, the CLI may be silent.
    pub(super) fn next(&self, is_tool_running: bool) -> (Instant, Timer) {
        if let Some(interrupted) = self.interrupted {
            return (interrupted + INTERRUPT_GRACE, Timer::InterruptGrace);
        }
        let limit = (self.began + self.turn_limit, Timer::TurnLimit);
        if is_tool_running {
            return limit;
        }
        let silent_since = self
            .quiet_until
            .map_or(self.last_line, |end| end.max(self.last_line));
        let silence = if self.is_silence_warned {
            (silent_since + self.silence_limit, Timer::SilenceLimit)
        } else {
            (silent_since + self.silence_limit / 2, Timer::SilenceWarning)
        };
        if silence.0 < limit.0 { silence } else { limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timers(now: Instant) -> Timers {
        Timers::new(now, 100 * SECOND, 10 * SECOND)
    }

    fn line(text: &str) -> Line<'_> {
        crate::wire::decode(text).unwrap()
    }

    fn retry(delay: &str) -> String {
        format!(
            r#"{{"type":"system","subtype":"api_retry","attempt":1,"max_retries":9,"retry_delay_ms":{delay}}}"#
        )
    }

    #[test]
    fn silence_is_warned_about_at_half_and_ends_the_cli_at_the_limit() {
        let now = Instant::now();
        let mut timers = timers(now);
        assert_eq!(
            timers.next(false),
            (now + 5 * SECOND, Timer::SilenceWarning)
        );
        timers.silence_warned();
        assert_eq!(timers.next(false), (now + 10 * SECOND, Timer::SilenceLimit));
        timers.line_received(now + 7 * SECOND, &Line::Ignored);
        assert_eq!(
            timers.next(false),
            (now + 12 * SECOND, Timer::SilenceWarning)
        );
    }

    #[test]
    fn a_running_tool_may_be_silent_up_to_the_turn_limit() {
        let now = Instant::now();
        assert_eq!(
            timers(now).next(true),
            (now + 100 * SECOND, Timer::TurnLimit)
        );
    }

    #[test]
    fn an_announced_delay_is_not_silence_and_silence_counts_from_its_end() {
        let now = Instant::now();
        let mut timers = timers(now);
        timers.line_received(now, &line(&retry("60000.5")));
        let (due, timer) = timers.next(false);
        assert_eq!(timer, Timer::SilenceWarning);
        assert_eq!(due, now + Duration::from_micros(65_000_500));
        timers.line_received(
            now + 61 * SECOND,
            &line(r#"{"type":"system","subtype":"status","status":"requesting"}"#),
        );
        assert_eq!(timers.next(false).0, now + 66 * SECOND);
    }

    #[test]
    fn no_announced_delay_outlasts_the_turn_and_an_invalid_one_is_ignored() {
        let now = Instant::now();
        for (delay, due) in [
            ("31536000000", 100),
            ("1e300", 100),
            ("-5", 5),
            ("\"60000\"", 5),
            ("null", 5),
            ("{}", 5),
        ] {
            let mut timers = timers(now);
            timers.line_received(now, &line(&retry(delay)));
            assert_eq!(timers.next(false).0, now + due * SECOND, "{delay}");
        }
    }

    #[test]
    fn a_compaction_may_be_silent_for_ten_minutes_however_often_it_is_announced() {
        let now = Instant::now();
        let compacting = r#"{"type":"system","subtype":"status","status":"compacting"}"#;
        let mut timers = Timers::new(now, 6000 * SECOND, 10 * SECOND);
        for at in [0, 30, 60] {
            timers.line_received(now + at * SECOND, &line(compacting));
        }
        assert_eq!(timers.next(false).0, now + COMPACTION_LIMIT + 5 * SECOND);
        let over =
            r#"{"type":"system","subtype":"status","status":null,"compact_result":"success"}"#;
        timers.line_received(now + 70 * SECOND, &line(over));
        assert_eq!(timers.next(false).0, now + 75 * SECOND);
    }

    #[test]
    fn a_second_stop_does_not_extend_the_grace_period() {
        let now = Instant::now();
        let mut timers = timers(now);
        timers.interrupted(now);
        timers.interrupted(now + SECOND);
        assert_eq!(
            timers.next(true),
            (now + INTERRUPT_GRACE, Timer::InterruptGrace)
        );
    }
}
