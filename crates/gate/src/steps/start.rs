//! The start of a guest, until it is seen to run on.

use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::Verdict;

use super::{Ladder, MONITOR, POLL, requested};
use crate::driver::{Action, Evidence, Failure, Process, Qemu};
use crate::text;
use crate::verdict::judge;

/// How long a fresh QEMU has to stay before it counts as one that runs: what ends by itself (no
/// memory, a device that is not there, a guest that resets for ever) has mostly done so by then.
const STEADY: Duration = Duration::from_secs(3);
/// The first pause before a start is tried again; each one is twice as long as the one before.
const AGAIN: Duration = Duration::from_secs(1);

impl Ladder<'_> {
    /// Starts the guest, which was seen as `before`. One that was `ended` by this verb is owed its
    /// start: as long as that fails, it is tried again until its time is over.
    pub(super) fn start(&mut self, before: &Evidence, ended: bool) -> Result<(), Failure> {
        if before.lock.as_ref().is_some_and(|lock| lock.ours) {
            let lifted = self.act(
                Action::Unlock,
                "lifting the lock that a broken-off suspension left",
                self.limits.ask,
            );
            lifted.unwrap_or_else(|failure| self.out.line(&failure.message));
        }
        let what = "a fresh QEMU process";
        let mut result = self.act_in_turn(Action::Start, what, self.limits.start);
        if matches!(&result, Err(failure) if failure.passing) {
            result = self.act(Action::Start, "known to pass: once more", self.limits.start);
        }
        let asked = before.ha.decides();
        if !asked {
            result = self.settled(result);
        }
        if ended && result.is_err() {
            result = self.start_again(before, result);
        }
        let earlier = before.process().filter(|_| ended);
        let up = |now: &Evidence| {
            judge(now) == Verdict::Running && earlier.is_none_or(|earlier| now.outlived(earlier))
        };
        if asked && result.is_ok() && !up(&self.wait(self.limits.start, true, up)) {
            return Err(requested("runs no fresh QEMU process"));
        }
        result
    }

    /// What became of a start, by what is seen once the guest has settled.
    fn settled(&mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        match result {
            Ok(()) => self.settle().map(|_| ()),
            // What was begun may still come: the verdict is that of the end.
            Err(late) if late.is_late => {
                self.out
                    .line("start: its command did not end in time; what it began may come late");
                match self.settle() {
                    Ok(true) => {
                        self.out
                            .line("start: QEMU came up late, and the guest runs");
                        Ok(())
                    }
                    _ => Err(late),
                }
            }
            failed => failed,
        }
    }

    /// Tries the start of a guest that was ended, or asked to end, until it succeeds or its time is
    /// over.
    fn start_again(
        &mut self,
        before: &Evidence,
        mut result: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (ends, mut pause) = (Instant::now() + self.limits.start, AGAIN);
        while let Err(failure) = &result {
            let left = ends.saturating_duration_since(Instant::now());
            let now = Evidence::glance(self.driver, MONITOR.min(self.limits.ask));
            let lives_on = before.ha.decides()
                && before
                    .process()
                    .is_some_and(|earlier| !now.outlived(earlier));
            if left.is_zero() || !(now.qemu == Qemu::Absent || lives_on) {
                break;
            }
            pause = pause.min(left);
            let line = format!(
                "start: failed ({}); once more in {} s, for {} s yet",
                failure.message,
                pause.as_secs_f32(),
                left.as_secs()
            );
            self.out.line(&text::visible(&line, 600));
            thread::sleep(pause);
            pause *= 2;
            let what = "a fresh QEMU process";
            result = self.act_in_turn(Action::Start, what, self.limits.start);
            if !before.ha.decides() {
                result = self.settled(result);
            }
        }
        result
    }

    /// Looks until the guest has run in one QEMU process for [`STEADY`], or the time to settle is
    /// over; whether it runs then. A process that ends meanwhile is told, and another one that comes has
    /// its own time.
    fn settle(&mut self) -> Result<bool, Failure> {
        let steady = STEADY.min(self.limits.settle);
        self.announce("settle", "the guest has to run on", self.limits.settle);
        let (deadline, mut ended) = (Instant::now() + self.limits.settle, None);
        let mut run: Option<(Process, Instant)> = None;
        loop {
            let now = Evidence::glance(self.driver, MONITOR.min(self.limits.ask));
            if let Some((process, since)) = run.filter(|(process, _)| now.outlived(*process)) {
                let lived = since.elapsed().as_secs_f32();
                let why = format!(
                    "QEMU process {} ended by itself {lived:.1} s after it was seen",
                    process.pid
                );
                self.out.line(&format!("settle: {why}"));
                (run, ended) = (None, Some(Failure::from(why)));
            }
            run = now.process().map(|process| match run {
                Some(earlier) => earlier,
                None => (process, Instant::now()),
            });
            let is_steady = run.is_some_and(|(_, since)| since.elapsed() >= steady);
            let runs = judge(&now) == Verdict::Running;
            let left = deadline.saturating_duration_since(Instant::now());
            if (runs && is_steady) || left.is_zero() {
                self.saw(&now);
                return match ended {
                    Some(ended) if !runs => Err(ended),
                    _ => Ok(runs),
                };
            }
            thread::sleep(POLL.min(left));
        }
    }
}
