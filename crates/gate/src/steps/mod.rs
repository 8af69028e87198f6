//! The rungs of a mutating verb: each says what it does and how long that may take, then looks.
//!
//! ```text
//!  cycle:  could it be started again? ──no──▶ nothing is changed
//!            │ yes
//!            ▼
//!          stop ──▶ gone? ──▶ lift the lock that a broken-off suspension left ──▶ start ──▶ runs?
//!            │                                                  again, while it fails ◀─┘
//!            │ not gone
//!            ▼
//!        not started: two QEMU processes on one disk would destroy it
//!
//!  stop:   could it be started again? ──no──▶ said, and only the clean stop is tried
//!          clean stop ──▶ gone? ──▶ way back? ──▶ SIGTERM ──▶ gone? ──▶ way back? ──▶ SIGKILL ──▶ gone?
//!              │ a lock forbids it
//!              ▼
//!          left alone
//!
//!  where high availability decides, a stop and a start are requests:
//!  cycle:  way back? ──▶ ask for the stop ──▶ wait ──▶ ask for the start, gone or not ──▶ wait ──▶ fresh?
//! ```
//!
//! Nothing is ended, neither by the hypervisor for a cycle nor by signals for any verb, unless the
//! driver has just proved the way back ([`WayBack`](crate::WayBack)).

mod start;

use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::{Verb, Verdict};

use crate::driver::state::Help;
use crate::driver::{Action, Driver, Evidence, Failure, Home, Monitor, Process, Qemu};
use crate::output::Output;
use crate::policy::Limits;
use crate::text;
use crate::verdict::judge;

/// Longest pause between two looks while waiting for a change.
const POLL: Duration = Duration::from_millis(200);
/// How long a healthy monitor may take for its run state: it needs a millisecond.
pub(crate) const MONITOR: Duration = Duration::from_secs(3);
/// How often a change is asked for that another task's lock forbade: each time the hypervisor's tool
/// waits itself.
const ATTEMPTS: u32 = 5;
/// How often a long wait for somebody else is told.
const TELL: Duration = Duration::from_secs(5);
/// How much longer than any other question the one about the way back may take: a tool that is slow on
/// a busy host can still start a guest.
const PATIENT: u32 = 3;

/// One mutating verb on its way.
pub(crate) struct Ladder<'a> {
    pub(crate) driver: &'a mut dyn Driver,
    pub(crate) out: &'a mut dyn Output,
    pub(crate) limits: &'a Limits,
}

impl Ladder<'_> {
    /// Does what `verb` says to a guest that was seen as `before`; returns what stood in the way.
    pub(crate) fn climb(&mut self, verb: Verb, before: &Evidence) -> Option<Failure> {
        if let Err(why) = self.may_begin(verb, before) {
            return Some(Failure::from(format!("{why}; nothing was changed")));
        }
        let state = before.run_state();
        let help = state.map_or(Help::Nothing, |state| state.help());
        let runs = judge(before) == Verdict::Running;
        let done = match verb {
            Verb::Start if runs && !before.ha.wants_it_off() => {
                self.out
                    .line("start: the guest runs already; nothing to do");
                Ok(())
            }
            Verb::Start if help == Help::GoesOn => self.resume(),
            Verb::Start if help == Help::Wakes => self.wake(),
            Verb::Start if help != Help::Nothing => {
                let remedy = state.map_or("", |state| state.remedy());
                Err(Failure::from(remedy.to_owned()))
            }
            Verb::Start => self.start(before, false),
            Verb::Stop => self.stop(before),
            Verb::Reset => self.reset(),
            Verb::Cycle => self.cycle(before),
            Verb::Status | Verb::Forensics | Verb::Vitals | Verb::Screenshot => Ok(()),
        };
        done.err()
    }

    /// What forbids `verb` before anything is changed, as a sentence.
    fn may_begin(&mut self, verb: Verb, before: &Evidence) -> Result<(), String> {
        if let (Qemu::Absent, Home::On(node)) = (&before.qemu, &before.home) {
            return Err(format!(
                "the guest is not on this host; send {verb} to {node}"
            ));
        }
        if let Monitor::CutOff(why) = &before.monitor {
            return Err(why.clone());
        }
        let state = before.run_state();
        if let Some(state) = state.filter(|state| state.help() == Help::Elsewhere)
            && verb != Verb::Stop
        {
            // Two QEMUs would write to one disk.
            return Err(state.remedy().to_owned());
        }
        if let (Qemu::Unseen(why), Verb::Start | Verb::Cycle) = (&before.qemu, verb) {
            return Err(format!(
                "it can't be told whether the guest has a QEMU process ({why}), and a second one on \
                 its disks would destroy them"
            ));
        }
        match verb {
            Verb::Reset if before.reset_ends => Err(
                "a reset would end QEMU, which was started so that it does not begin anew (reboot: 0, \
                 or on_reboot); send cycle, which starts it again"
                    .to_owned(),
            ),
            Verb::Cycle => self
                .way_back()
                .map_err(|why| format!("the guest could not be started again: {why}")),
            Verb::Stop if before.qemu != Qemu::Absent => {
                if let Err(why) = self.way_back() {
                    let why = format!("stop: afterwards the guest can't be started again: {why}");
                    self.out.line(&text::visible(&why, 600));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Looks whether the guest could be started again now.
    fn way_back(&mut self) -> Result<(), String> {
        let ask = self.limits.ask;
        let mut now = Evidence::glance(self.driver, MONITOR.min(ask));
        self.driver.settings(&mut now, ask * PATIENT);
        let proof = now.way_back.proven()?;
        self.out
            .line(&text::visible(&format!("way back: {proof}"), 400));
        Ok(())
    }

    fn cycle(&mut self, before: &Evidence) -> Result<(), Failure> {
        let Err(failure) = self.stop(before) else {
            return self.start(before, before.qemu != Qemu::Absent);
        };
        if !before.ha.decides() || failure.lock.is_some() {
            return Err(failure);
        }
        // A request to stop that stays where it is may be carried out at any time.
        let line = format!("{}; asking for the start all the same", failure.message);
        self.out.line(&text::visible(&line, 600));
        match failure.requested {
            true => self.start(before, true),
            false => {
                let _ = self.act(
                    Action::Start,
                    "whatever became of the stop",
                    self.limits.start,
                );
                Err(failure)
            }
        }
    }

    fn stop(&mut self, before: &Evidence) -> Result<(), Failure> {
        let Some(process) = before.process() else {
            // Clears what the hypervisor may still believe.
            return self.act_in_turn(Action::Stop, "clean stop", self.limits.stop);
        };
        let gone = |now: &Evidence| now.outlived(process);
        let result = self.act_in_turn(Action::Stop, "clean stop", self.limits.stop);
        let is_locked = matches!(&result, Err(failure) if failure.lock.is_some());
        // Where high availability decides the tool only asks; else what it did not do in all its
        // time it does not do a moment later.
        let limit = match (&result, before.ha.decides()) {
            (Ok(()), true) => self.limits.stop,
            (Ok(()), false) | (Err(_), true) => self.limits.settle,
            (Err(_), false) => Duration::ZERO,
        };
        let now = self.wait(limit, before.ha.decides(), gone);
        match before.ha.decides() {
            _ if gone(&now) => Ok(()),
            _ if is_locked => result,
            false => self.end(process, result),
            true => result.and(Err(requested(&format!(
                "has not ended QEMU process {}",
                process.pid
            )))),
        }
    }

    /// Ends a QEMU by signals that outlived the clean stop, whose end was `result`; each only while
    /// the guest could be started again.
    fn end(&mut self, process: Process, result: Result<(), Failure>) -> Result<(), Failure> {
        let gone = |now: &Evidence| now.outlived(process);
        let (pid, mut result, mut state) = (process.pid, result, process.state);
        for (rung, hard) in [("terminate", false), ("kill", true)] {
            if let Err(why) = self.way_back() {
                // What was asked before may still come to pass.
                return match gone(&self.wait(self.limits.settle, false, gone)) {
                    true => Ok(()),
                    false => Err(Failure::from(format!(
                        "QEMU process {pid} was not ended by signals, because the guest could not be \
                         started again: {why}{}",
                        result
                            .err()
                            .map_or(String::new(), |end| format!("; {}", end.message))
                    ))),
                };
            }
            result = self.signal(rung, process, hard);
            let now = self.wait(self.limits.terminate, false, gone);
            if gone(&now) {
                return Ok(());
            }
            state = now.process().map_or('?', |process| process.state);
        }
        result?;
        Err(Failure::from(format!(
            "QEMU process {pid} is still there (state {state}), also after SIGKILL"
        )))
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

    fn reset(&mut self) -> Result<(), Failure> {
        self.act_in_turn(Action::Reset, "warm reset", self.limits.ask)?;
        let seen = |now: &Evidence| judge(now) == Verdict::Running || is_paused(now);
        match self.wait(self.limits.settle, false, seen) {
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
        self.wait(self.limits.settle, false, |now| {
            judge(now) == Verdict::Running
        });
        Ok(())
    }

    fn wake(&mut self) -> Result<(), Failure> {
        let what = "the guest sleeps; waking it";
        self.act(Action::Wake, what, self.limits.ask)?;
        self.wait(self.limits.settle, false, |now| {
            judge(now) == Verdict::Running
        });
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

    /// Looks until `done`, or until `limit` is over; tells and returns what was seen last. A wait for
    /// high availability (`asked`) is told while it lasts.
    fn wait(&mut self, limit: Duration, asked: bool, done: impl Fn(&Evidence) -> bool) -> Evidence {
        let began = Instant::now();
        let mut told = began;
        loop {
            let now = Evidence::glance(self.driver, MONITOR.min(self.limits.ask));
            let left = limit.saturating_sub(began.elapsed());
            if done(&now) || left.is_zero() {
                self.saw(&now);
                return now;
            }
            if asked && told.elapsed() >= TELL {
                let (gone, limit) = (began.elapsed().as_secs(), limit.as_secs());
                let seen = text::visible(&now.lines().join("; "), 400);
                self.out.line(&format!(
                    "waiting for high availability, {gone} s of {limit} s: {seen}"
                ));
                told = Instant::now();
            }
            thread::sleep(POLL.min(left));
        }
    }

    fn saw(&mut self, now: &Evidence) {
        let seen = text::visible(&now.lines().join("; "), 400);
        self.out.line(&format!("saw: {seen}"));
    }
}

/// What is left of a request: high availability has not done it in its time.
fn requested(what: &str) -> Failure {
    Failure {
        requested: true,
        ..Failure::from(format!(
            "high availability was asked and {what} yet; it decides, and the request stays"
        ))
    }
}

/// Whether QEMU holds the guest still in a way that it can go on from.
fn is_paused(seen: &Evidence) -> bool {
    let state = seen.run_state();
    state.is_some_and(|state| state.help() == Help::GoesOn)
}
