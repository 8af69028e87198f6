//! The rungs of a mutating verb: each says what it does and how long that may take, then looks.
//!
//! ```text
//!  stop:   clean stop ──▶ gone? ──▶ SIGTERM ──▶ gone? ──▶ SIGKILL ──▶ gone? ──▶ not stopped: in the kernel
//!              │ a lock, or high availability, forbids it
//!              ▼
//!          left alone
//!  cycle:  stop ──▶ lock that a broken-off suspension left? lift it ──▶ start ──(passing: once more)──▶ runs?
//!            │ not gone
//!            ▼
//!        not started: two QEMU processes on one disk would destroy it
//! ```

use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::{Verb, Verdict};

use crate::driver::{Action, Driver, Evidence, Failure, Monitor, Process};
use crate::output::Output;
use crate::policy::Limits;
use crate::text;
use crate::verdict::judge;

/// Longest pause between two looks while waiting for a change.
const POLL: Duration = Duration::from_millis(200);
/// How long a healthy monitor may take for its run state: it needs a millisecond.
pub(crate) const MONITOR: Duration = Duration::from_secs(3);

/// One mutating verb on its way.
pub(crate) struct Ladder<'a> {
    pub(crate) driver: &'a mut dyn Driver,
    pub(crate) out: &'a mut dyn Output,
    pub(crate) limits: &'a Limits,
}

impl Ladder<'_> {
    /// Does what `verb` says to a guest that was seen as `before`; returns what stood in the way.
    pub(crate) fn climb(&mut self, verb: Verb, before: &Evidence) -> Option<Failure> {
        if let (Monitor::CutOff(why), true) = (&before.monitor, verb != Verb::Stop) {
            // What was stopped now could not be started again.
            return Some(Failure::from(format!("{why}; the guest was left as it is")));
        }
        let done = match verb {
            Verb::Start if judge(before) == Verdict::Running => {
                self.out
                    .line("start: the guest runs already; nothing to do");
                Ok(())
            }
            Verb::Start if is_paused(before) => self.resume(),
            Verb::Start => self.start(before),
            Verb::Stop => self.stop(before),
            Verb::Reset => self.reset(),
            Verb::Cycle => self.stop(before).and_then(|()| self.start(before)),
            Verb::Status | Verb::Forensics | Verb::Vitals | Verb::Screenshot => Ok(()),
        };
        done.err()
    }

    fn stop(&mut self, before: &Evidence) -> Result<(), Failure> {
        let Some(process) = before.process() else {
            // Clears what the hypervisor may still believe.
            return self.act(Action::Stop, "clean stop", self.limits.stop);
        };
        let gone = |now: &Evidence| now.outlived(process);
        let mut result = self.act(Action::Stop, "clean stop", self.limits.stop);
        let is_locked = matches!(&result, Err(failure) if failure.lock.is_some());
        // What the tool did not do in all its time, it does not do a moment later.
        let settle = if result.is_ok() {
            self.limits.settle
        } else {
            Duration::ZERO
        };
        let mut now = self.wait(settle, gone);
        if !is_locked && !before.ha_managed {
            for (rung, hard) in [("terminate", false), ("kill", true)] {
                if !gone(&now) {
                    result = self.signal(rung, process, hard);
                    now = self.wait(self.limits.terminate, gone);
                }
            }
        }
        if gone(&now) {
            return Ok(());
        }
        result?;
        let state = now.process().map_or('?', |process| process.state);
        let pid = process.pid;
        Err(Failure::from(match before.ha_managed {
            true => format!("high availability has not ended QEMU process {pid} yet; it decides"),
            false => {
                format!("QEMU process {pid} is still there (state {state}), also after SIGKILL")
            }
        }))
    }

    fn signal(&mut self, rung: &str, process: Process, hard: bool) -> Result<(), Failure> {
        let (name, pid) = (if hard { "SIGKILL" } else { "SIGTERM" }, process.pid);
        self.announce(
            rung,
            &format!("{name} to QEMU process {pid}"),
            self.limits.terminate,
        );
        Ok(self.driver.signal(process, hard)?)
    }

    fn start(&mut self, before: &Evidence) -> Result<(), Failure> {
        if before.lock.as_ref().is_some_and(|lock| lock.ours) {
            let lifted = self.act(
                Action::Unlock,
                "lifting the lock that a broken-off suspension left",
                self.limits.ask,
            );
            lifted.unwrap_or_else(|failure| self.out.line(&failure.message));
        }
        let mut result = self.act(Action::Start, "a fresh QEMU process", self.limits.start);
        if matches!(&result, Err(failure) if failure.passing) {
            result = self.act(Action::Start, "known to pass: once more", self.limits.start);
        }
        if result.is_ok() {
            self.wait(self.limits.settle, |now| judge(now) == Verdict::Running);
        }
        result
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.act(Action::Reset, "warm reset", self.limits.ask)?;
        let seen = |now: &Evidence| judge(now) == Verdict::Running || is_paused(now);
        match self.wait(self.limits.settle, seen) {
            now if is_paused(&now) => self.resume(),
            _ => Ok(()),
        }
    }

    fn resume(&mut self) -> Result<(), Failure> {
        self.act(
            Action::Resume,
            "the guest is paused; letting it go on",
            self.limits.ask,
        )?;
        self.wait(self.limits.settle, |now| judge(now) == Verdict::Running);
        Ok(())
    }

    /// One change by the hypervisor, told before and after.
    fn act(&mut self, action: Action, what: &str, limit: Duration) -> Result<(), Failure> {
        let rung = format!("{action:?}").to_lowercase();
        self.announce(&rung, what, limit);
        let result = self.driver.act(action, limit);
        let words = match &result {
            Ok(words) => words,
            Err(failure) => &failure.message,
        };
        for line in words.lines().take(50) {
            self.out
                .line(&format!("{rung}: {}", text::visible(line, 400)));
        }
        result.map(|_| ())
    }

    fn announce(&mut self, rung: &str, what: &str, limit: Duration) {
        self.out.line(&format!(
            "{rung}: {what}, for at most {} s",
            limit.as_secs_f32()
        ));
    }

    /// Looks until `done`, or until `limit` is over; tells and returns what was seen last.
    fn wait(&mut self, limit: Duration, done: impl Fn(&Evidence) -> bool) -> Evidence {
        let deadline = Instant::now() + limit;
        loop {
            let now = Evidence::glance(self.driver, MONITOR.min(self.limits.ask));
            let left = deadline.saturating_duration_since(Instant::now());
            if done(&now) || left.is_zero() {
                self.out.line(&format!(
                    "saw: {}",
                    text::visible(&now.lines().join("; "), 400)
                ));
                return now;
            }
            thread::sleep(POLL.min(left));
        }
    }
}

/// Whether QEMU holds the guest still in a way that it can go on from.
fn is_paused(seen: &Evidence) -> bool {
    matches!(&seen.monitor, Monitor::Says(state) if matches!(state.as_str(), "paused" | "prelaunch" | "io-error"))
}
