//! The rungs of a mutating verb: each says what it does and how long that may take, then looks.
//!
//! ```text
//!  cycle:  stop ──▶ is the process gone? ──▶ start ──(fails in passing: once more)──▶ does it run?
//!                        │ no
//!                        ▼
//!                  not started: two QEMU processes on one disk would destroy it
//! ```

use std::thread;
use std::time::Instant;

use breakglass_verbs::{Verb, Verdict};

use crate::driver::{Driver, Evidence, Failure};
use crate::limits::Limits;
use crate::output::Output;
use crate::verdict::judge;

/// One mutating verb on its way.
pub(crate) struct Ladder<'a> {
    pub(crate) driver: &'a mut dyn Driver,
    pub(crate) out: &'a mut dyn Output,
    pub(crate) limits: Limits,
}

impl Ladder<'_> {
    /// Does what `verb` says to a guest that was seen as `before`; returns what stood in the way.
    pub(crate) fn climb(&mut self, verb: Verb, before: &Evidence) -> Option<Failure> {
        match verb {
            Verb::Status | Verb::Forensics => Ok(()),
            Verb::Start if judge(before) == Verdict::Running => {
                self.out
                    .line("start: the guest runs already; nothing to do");
                Ok(())
            }
            Verb::Start => self.start(),
            Verb::Stop => self.stop(before),
            Verb::Reset => self.reset(),
            Verb::Cycle => self.stop(before).and_then(|()| self.start()),
        }
        .err()
    }

    fn stop(&mut self, before: &Evidence) -> Result<(), Failure> {
        self.announce(
            "stop",
            "ending the QEMU process",
            self.limits.stop.as_secs(),
        );
        let result = self.driver.stop(self.out);
        // A lock is told at once; everything else may still take effect.
        let locked = matches!(&result, Err(failure) if failure.lock.is_some());
        let gone = |now: &Evidence| match before.process() {
            Some(process) => now.outlived(process),
            None => now.process().is_none(),
        };
        let now = if locked {
            self.driver.glance()
        } else {
            self.wait(gone)
        };
        if gone(&now) {
            if let Err(failure) = result {
                self.out.line(&format!(
                    "stop: {}; but the process is gone",
                    failure.message
                ));
            } else {
                self.out.line("stop: the QEMU process is gone");
            }
            return Ok(());
        }
        result?;
        Err(Failure::new(match now.process() {
            Some(p) => format!(
                "the hypervisor's tool said that it stopped the guest, but QEMU process {} is still \
                 there (state {})",
                p.pid, p.state
            ),
            None => "whether the QEMU process is gone can't be told".to_owned(),
        }))
    }

    fn start(&mut self) -> Result<(), Failure> {
        self.announce("start", "a fresh QEMU process", self.limits.start.as_secs());
        let mut result = self.driver.start(self.out);
        if let Err(failure) = &result
            && failure.passing
        {
            self.out.line(&format!(
                "start: {}; known to pass: once more",
                failure.message
            ));
            result = self.driver.start(self.out);
        }
        if result.is_ok() {
            self.wait(|now| judge(now) == Verdict::Running);
        }
        result
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.announce(
            "reset",
            "warm reset of the guest",
            self.limits.ask.as_secs(),
        );
        let result = self.driver.reset(self.out);
        if result.is_ok() {
            self.wait(|now| judge(now) == Verdict::Running);
        }
        result
    }

    fn announce(&mut self, rung: &str, what: &str, seconds: u64) {
        self.out
            .line(&format!("{rung}: {what}, for at most {seconds} s"));
    }

    /// Looks until `done`, or until the time to settle is over; returns what was seen last.
    fn wait(&mut self, done: impl Fn(&Evidence) -> bool) -> Evidence {
        let deadline = Instant::now() + self.limits.settle;
        loop {
            let now = self.driver.glance();
            if done(&now) || Instant::now() >= deadline {
                return now;
            }
            thread::sleep(self.limits.poll);
        }
    }
}
