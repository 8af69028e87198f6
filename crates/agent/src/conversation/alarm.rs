//! When a running turn has to be looked after though nothing happens. Pure: the caller says what
//! time it is.

use std::time::Duration;

use tokio::time::Instant;

use super::STOP_GRACE;
use crate::wire::Line;

/// How long the CLI may be silent while the model shortens the conversation for it.
const COMPACTION: Duration = Duration::from_secs(10 * 60);

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
    /// Until when the CLI has said that it will be silent.
    quiet_until: Option<Instant>,
    compacting: bool,
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
            quiet_until: None,
            compacting: false,
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

    /// What it printed may announce a silence, or end one. None outlasts the turn's own limit,
    /// and that of a compaction not [`COMPACTION`], however often it is announced.
    pub(super) fn announced(&mut self, now: Instant, line: &Line<'_>) {
        match line {
            Line::ApiRetry(retry) => self.quiet(now, retry.delay),
            Line::Status(status) if status.is_compacting() => {
                if !self.compacting {
                    self.quiet(now, COMPACTION);
                }
                self.compacting = true;
            }
            Line::Quiet | Line::Unknown | Line::Init { .. } => {}
            _ => {
                self.quiet_until = None;
                self.compacting = false;
            }
        }
    }

    fn quiet(&mut self, now: Instant, span: Duration) {
        self.compacting = false;
        self.quiet_until = Some(now + span.min(self.turn_limit));
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
        let heard = self
            .quiet_until
            .map_or(self.heard, |end| end.max(self.heard));
        let silence = match (tool_runs, self.told_silent) {
            (true, _) => return limit,
            (false, false) => (heard + self.silence_limit / 2, Alarm::Silent),
            (false, true) => (heard + self.silence_limit, Alarm::SilenceLimit),
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

    fn line(text: &str) -> Line<'_> {
        crate::wire::decode(text).unwrap()
    }

    fn retry(delay: &str) -> String {
        format!(
            r#"{{"type":"system","subtype":"api_retry","attempt":1,"max_retries":9,"retry_delay_ms":{delay}}}"#
        )
    }

    #[test]
    fn an_announced_wait_is_no_silence_and_the_silence_counts_from_its_end() {
        let now = Instant::now();
        let mut alarms = alarms(now);
        alarms.announced(now, &line(&retry("60000.5")));
        let (due, alarm) = alarms.next(false);
        assert_eq!(alarm, Alarm::Silent);
        assert_eq!(due, now + Duration::from_micros(65_000_500));
        alarms.heard(now + 61 * SECOND);
        alarms.announced(
            now + 61 * SECOND,
            &line(r#"{"type":"system","subtype":"status","status":"requesting"}"#),
        );
        assert_eq!(alarms.next(false).0, now + 66 * SECOND);
    }

    #[test]
    fn no_announced_wait_outlasts_the_turn_and_an_odd_one_is_none() {
        let now = Instant::now();
        for (delay, due) in [
            ("31536000000", 100),
            ("1e300", 100),
            ("-5", 5),
            ("\"60000\"", 5),
            ("null", 5),
            ("{}", 5),
        ] {
            let mut alarms = alarms(now);
            alarms.announced(now, &line(&retry(delay)));
            assert_eq!(alarms.next(false).0, now + due * SECOND, "{delay}");
        }
    }

    #[test]
    fn a_compaction_may_be_silent_for_ten_minutes_however_often_it_is_announced() {
        let now = Instant::now();
        let compacting = r#"{"type":"system","subtype":"status","status":"compacting"}"#;
        let mut alarms = Alarms::new(now, 6000 * SECOND, 10 * SECOND);
        for at in [0, 30, 60] {
            let at = now + at * SECOND;
            alarms.heard(at);
            alarms.announced(at, &line(compacting));
        }
        assert_eq!(alarms.next(false).0, now + COMPACTION + 5 * SECOND);
        let over =
            r#"{"type":"system","subtype":"status","status":null,"compact_result":"success"}"#;
        alarms.heard(now + 70 * SECOND);
        alarms.announced(now + 70 * SECOND, &line(over));
        assert_eq!(alarms.next(false).0, now + 75 * SECOND);
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
