//! The start of a guest, until it has run for a few seconds.

use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::Verdict;

use super::change::POLL_INTERVAL;
use super::{Steps, requested};
use crate::driver::{Action, Evidence, Failure, Process, Qemu};
use crate::verdict::judge;

/// How long a new QEMU process must exist before it counts as running: most of those that end by
/// themselves (no memory, a missing device, a guest that resets for ever) have done so by then.
const STEADY_TIME: Duration = Duration::from_secs(3);
/// The first pause before another attempt. Each pause is twice as long as the one before.
const FIRST_RETRY_PAUSE: Duration = Duration::from_secs(1);
const NEW_PROCESS: &str = "a fresh QEMU process";

impl Steps<'_> {
    /// Starts the guest, which was observed as `before`. If this verb has ended it (`was_ended`), a
    /// start that fails is repeated until its time is over.
    pub(super) fn start(&mut self, before: &Evidence, was_ended: bool) -> Result<(), Failure> {
        if before.lock.as_ref().is_some_and(|lock| lock.is_left_over) {
            let what = "removing the lock of an interrupted suspension";
            // If this fails, the start reports the lock.
            let _ = self.change(Action::Unlock, what, self.limits.ask);
        }
        let limit = self.limits.start;
        let asked = before.ha.decides();
        let mut result = self.change_in_turn(Action::Start, NEW_PROCESS, limit);
        if matches!(&result, Err(failure) if failure.transient) {
            result = self.change(Action::Start, "again, after a transient failure", limit);
        }
        if !asked {
            result = self.settle_after(result);
        }
        if was_ended && result.is_err() {
            result = self.start_again(before, result);
        }
        let earlier = before.process().filter(|_| was_ended);
        let is_up = |now: &Evidence| {
            judge(now) == Verdict::Running && earlier.is_none_or(|earlier| now.is_gone(earlier))
        };
        if asked && result.is_ok() && !is_up(&self.wait(limit, true, is_up)) {
            return Err(requested("runs no fresh QEMU process"));
        }
        result
    }

    /// The result of a start, according to the state in which the guest settles.
    fn settle_after(&mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        match result {
            Ok(()) => self.settle().map(|_| ()),
            Err(failure) if failure.timed_out => {
                self.out
                    .line("start: its command did not end in time; QEMU may come up late");
                if !matches!(self.settle(), Ok(true)) {
                    return Err(failure);
                }
                self.out
                    .line("start: QEMU came up late, and the guest runs");
                Ok(())
            }
            failed => failed,
        }
    }

    /// Repeats the start of a guest that was ended, or asked to end, until it succeeds or its time is
    /// over.
    fn start_again(
        &mut self,
        before: &Evidence,
        mut result: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let limit = self.limits.start;
        let deadline = Instant::now() + limit;
        let asked = before.ha.decides();
        let mut pause = FIRST_RETRY_PAUSE;
        while let Err(failure) = &result {
            let left = deadline.saturating_duration_since(Instant::now());
            let now = self.observe();
            let still_runs = before
                .process()
                .is_some_and(|earlier| !now.is_gone(earlier));
            let may_start = now.qemu == Qemu::Absent || (asked && still_runs);
            if left.is_zero() || !may_start {
                break;
            }
            pause = pause.min(left);
            let message = &failure.message;
            self.explain(&format!(
                "start: failed ({message}); once more in {} s, for {} s more",
                pause.as_secs_f32(),
                left.as_secs()
            ));
            thread::sleep(pause);
            pause *= 2;
            result = self.change_in_turn(Action::Start, NEW_PROCESS, limit);
            if !asked {
                result = self.settle_after(result);
            }
        }
        result
    }

    /// Observes the guest until it has run in one QEMU process for [`STEADY_TIME`], or the time to
    /// settle is over; returns whether it runs then. The end of a process is printed, and its
    /// successor gets its own time.
    fn settle(&mut self) -> Result<bool, Failure> {
        let limit = self.limits.settle;
        let steady_time = STEADY_TIME.min(limit);
        self.announce("settle", "the guest has to keep running", limit);
        let deadline = Instant::now() + limit;
        let mut ended = None;
        let mut current: Option<(Process, Instant)> = None;
        loop {
            let now = self.observe();
            if let Some((process, since)) = current.filter(|(process, _)| now.is_gone(*process)) {
                let lifetime = since.elapsed().as_secs_f32();
                let pid = process.pid;
                let why =
                    format!("QEMU process {pid} ended by itself {lifetime:.1} s after it was seen");
                self.out.line(&format!("settle: {why}"));
                ended = Some(Failure::from(why));
                current = None;
            }
            current = now
                .process()
                .map(|process| current.unwrap_or((process, Instant::now())));
            let is_steady = current.is_some_and(|(_, since)| since.elapsed() >= steady_time);
            let runs = judge(&now) == Verdict::Running;
            let left = deadline.saturating_duration_since(Instant::now());
            if (runs && is_steady) || left.is_zero() {
                self.print_observation(&now);
                return match ended {
                    Some(ended) if !runs => Err(ended),
                    _ => Ok(runs),
                };
            }
            thread::sleep(POLL_INTERVAL.min(left));
        }
    }
}
