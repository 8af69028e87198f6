//! One change by the hypervisor: wait for other tasks, announce it, make it, observe its effect.

use std::thread;
use std::time::{Duration, Instant};

use super::Steps;
use crate::driver::observe::{MONITOR_TIMEOUT, observe};
use crate::driver::{Action, Evidence, Failure};
use crate::text::{self, LINE_MAX_CHARS};

/// Maximum pause between two observations while waiting for a change.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Number of attempts at a change that another task's lock forbids. The hypervisor's tool waits
/// itself in each of them.
const LOCKED_ATTEMPTS_MAX: u32 = 5;
/// How often a wait for high availability is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of lines of a tool's output to print.
const TOOL_LINES_MAX: usize = 50;

impl Steps<'_> {
    /// Makes a change as soon as no other task of the hypervisor holds the file lock, waiting at most
    /// `limit`. A stop is tried at once, since the hypervisor may overrule another task for it.
    pub(super) fn change_in_turn(
        &mut self,
        action: Action,
        what: &str,
        limit: Duration,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        if action != Action::Stop {
            self.wait_for_other_tasks(limit, deadline)?;
        }
        let holder_before = self.driver.flock_holder();
        let mut result = self.change(action, what, limit);
        for _ in 1..LOCKED_ATTEMPTS_MAX {
            if !matches!(&result, Err(failure) if failure.is_busy) || Instant::now() >= deadline {
                break;
            }
            thread::sleep(POLL_INTERVAL);
            self.wait_for_other_tasks(limit, deadline)?;
            result = self.change(action, what, limit);
        }
        result.map_err(|failure| self.add_lock_holder(failure, holder_before.as_deref()))
    }

    /// Adds the holder of the lock that forbade the change. A tool that was killed at its timeout may
    /// have left the lock behind itself: only a holder from before is another task.
    fn add_lock_holder(&mut self, mut failure: Failure, before: Option<&str>) -> Failure {
        if failure.is_busy || failure.timed_out {
            let now = self.driver.flock_holder();
            if now.is_some() && (failure.is_busy || now.as_deref() == before) {
                failure.lock = now;
            }
        }
        failure
    }

    /// Waits until no task of the hypervisor holds its file lock on the guest.
    fn wait_for_other_tasks(&mut self, limit: Duration, deadline: Instant) -> Result<(), Failure> {
        let mut announced = None;
        while let Some(holder) = self.driver.flock_holder() {
            if announced.as_ref() != Some(&holder) {
                let what = format!("{} is working on the guest", text::visible(&holder, 300));
                self.announce("wait", &what, limit);
                announced = Some(holder.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let message = format!("{holder} still locks the guest; nothing was changed");
                return Err(Failure {
                    lock: Some(holder),
                    is_busy: true,
                    ..Failure::from(message)
                });
            }
            thread::sleep(POLL_INTERVAL.min(left));
        }
        Ok(())
    }

    /// Announces and makes one change, and prints the output of the hypervisor's tool.
    pub(super) fn change(
        &mut self,
        action: Action,
        what: &str,
        limit: Duration,
    ) -> Result<(), Failure> {
        let step = format!("{action:?}").to_lowercase();
        self.announce(&step, what, limit);
        let result = self.driver.perform(action, limit);
        let output = match &result {
            Ok(output) => output,
            Err(failure) => &failure.message,
        };
        for line in output.lines().take(TOOL_LINES_MAX) {
            let line = text::visible(line, LINE_MAX_CHARS);
            self.out.line(&format!("{step}: {line}"));
        }
        result.map(|_| ())
    }

    pub(super) fn announce(&mut self, step: &str, what: &str, limit: Duration) {
        let seconds = limit.as_secs_f32();
        self.out
            .line(&format!("{step}: {what}, for at most {seconds} s"));
    }

    /// Observes the guest until `is_done`, or until `limit` is over; prints and returns the last
    /// observation. A wait for high availability (`asked`) is reported while it lasts.
    pub(super) fn wait(
        &mut self,
        limit: Duration,
        asked: bool,
        is_done: impl Fn(&Evidence) -> bool,
    ) -> Evidence {
        let began = Instant::now();
        let mut reported = began;
        loop {
            let now = self.observe();
            let left = limit.saturating_sub(began.elapsed());
            if is_done(&now) || left.is_zero() {
                self.print_observation(&now);
                return now;
            }
            if asked && reported.elapsed() >= REPORT_INTERVAL {
                let waited = began.elapsed().as_secs();
                let limit = limit.as_secs();
                let seen = summary(&now);
                self.out.line(&format!(
                    "waiting for high availability, {waited} s of {limit} s: {seen}"
                ));
                reported = Instant::now();
            }
            thread::sleep(POLL_INTERVAL.min(left));
        }
    }

    pub(super) fn observe(&mut self) -> Evidence {
        observe(self.driver, MONITOR_TIMEOUT.min(self.limits.ask))
    }

    pub(super) fn print_observation(&mut self, now: &Evidence) {
        self.out.line(&format!("saw: {}", summary(now)));
    }
}

fn summary(evidence: &Evidence) -> String {
    text::visible(&evidence.lines().join("; "), LINE_MAX_CHARS)
}
