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

use crate::driver::state::Help;
use crate::driver::{Action, Driver, Evidence, Failure, Monitor, Process};
use crate::output::Output;
use crate::policy::Limits;
use crate::text;
use crate::verdict::judge;

/// Longest pause between two looks while waiting for a change.
const POLL: Duration = Duration::from_millis(200);
/// How long a fresh QEMU has to stay before it counts as one that runs: what ends by itself (no
/// memory, a device that is not there, a guest that resets for ever) has mostly done so by then.
const STEADY: Duration = Duration::from_secs(3);
/// How often a change is asked for that another task's lock forbade: each time the hypervisor's tool
/// waits itself.
const ATTEMPTS: u32 = 5;
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
        let state = before.run_state();
        let help = state.map_or(Help::Nothing, |state| state.help());
        let remedy = state.map_or("", |state| state.remedy()).to_owned();
        if help == Help::Elsewhere && verb != Verb::Stop {
            // Two QEMUs would write to one disk.
            return Some(Failure::from(format!("{remedy}; nothing was changed")));
        }
        let done = match verb {
            Verb::Start if judge(before) == Verdict::Running => {
                self.out
                    .line("start: the guest runs already; nothing to do");
                Ok(())
            }
            Verb::Start if help == Help::GoesOn => self.resume(),
            Verb::Start if help == Help::Wakes => self.wake(),
            Verb::Start if help != Help::Nothing => Err(Failure::from(remedy)),
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
            return self.act_in_turn(Action::Stop, "clean stop", self.limits.stop);
        };
        let gone = |now: &Evidence| now.outlived(process);
        let mut result = self.act_in_turn(Action::Stop, "clean stop", self.limits.stop);
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
        let what = "a fresh QEMU process";
        let mut result = self.act_in_turn(Action::Start, what, self.limits.start);
        if matches!(&result, Err(failure) if failure.passing) {
            result = self.act(Action::Start, "known to pass: once more", self.limits.start);
        }
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

    fn reset(&mut self) -> Result<(), Failure> {
        self.act_in_turn(Action::Reset, "warm reset", self.limits.ask)?;
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

    fn wake(&mut self) -> Result<(), Failure> {
        let what = "the guest sleeps; waking it";
        self.act(Action::Wake, what, self.limits.ask)?;
        self.wait(self.limits.settle, |now| judge(now) == Verdict::Running);
        Ok(())
    }

    /// One change, when no other task of the hypervisor's is in the way any more: that is waited for,
    /// at most `limit`. A stop is asked for at once, since the hypervisor may overrule what is there.
    fn act_in_turn(&mut self, action: Action, what: &str, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        if action != Action::Stop {
            self.wait_for_others(limit, deadline)?;
        }
        let before = self.driver.held();
        let mut result = self.act(action, what, limit);
        for _ in 1..ATTEMPTS {
            if !matches!(&result, Err(failure) if failure.is_busy) || Instant::now() >= deadline {
                break;
            }
            thread::sleep(POLL);
            self.wait_for_others(limit, deadline)?;
            result = self.act(action, what, limit);
        }
        result.map_err(|failure| self.name_holder(failure, before.as_ref()))
    }

    /// Adds who stood in the way. A tool that was ended at its deadline may have left the lock behind
    /// itself: only one that was held before is another's.
    fn name_holder(&mut self, failure: Failure, before: Option<&String>) -> Failure {
        if !failure.is_busy && !failure.is_late {
            return failure;
        }
        let now = self.driver.held();
        let others = now.filter(|now| failure.is_busy || Some(now) == before);
        Failure {
            lock: others.or(failure.lock.clone()),
            ..failure
        }
    }

    /// Waits until nothing of the hypervisor's holds its lock on the guest.
    fn wait_for_others(&mut self, limit: Duration, deadline: Instant) -> Result<(), Failure> {
        let mut told = None;
        loop {
            let Some(holder) = self.driver.held() else {
                return Ok(());
            };
            if told.as_ref() != Some(&holder) {
                let what = format!("{} works on the guest", text::visible(&holder, 300));
                self.announce("wait", &what, limit);
                told = Some(holder.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = format!("the guest is still held by {holder}; nothing was changed");
                return Err(Failure {
                    lock: Some(holder),
                    is_busy: true,
                    ..Failure::from(message)
                });
            }
            thread::sleep(POLL.min(left));
        }
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
                self.saw(&now);
                return now;
            }
            thread::sleep(POLL.min(left));
        }
    }

    fn saw(&mut self, now: &Evidence) {
        let seen = text::visible(&now.lines().join("; "), 400);
        self.out.line(&format!("saw: {seen}"));
    }
}

/// Whether QEMU holds the guest still in a way that it can go on from.
fn is_paused(seen: &Evidence) -> bool {
    let state = seen.run_state();
    state.is_some_and(|state| state.help() == Help::GoesOn)
}
