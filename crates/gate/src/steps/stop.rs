//! The escalation that ends a guest: clean stop, SIGTERM, SIGKILL.

use std::time::Duration;

use super::{Steps, requested};
use crate::driver::{Action, Evidence, Failure, Process};

impl Steps<'_> {
    pub(super) fn stop(&mut self, before: &Evidence) -> Result<(), Failure> {
        let limit = self.limits.stop;
        let result = self.change_in_turn(Action::Stop, "clean stop", limit);
        let Some(process) = before.process() else {
            // The stop only cleared the hypervisor's own state.
            return result;
        };
        let asked = before.ha.decides();
        let timeout = match (&result, asked) {
            (Ok(()), true) => self.limits.stop,
            (Ok(()), false) | (Err(_), true) => self.limits.settle,
            // The tool had the whole time for it.
            (Err(_), false) => Duration::ZERO,
        };
        let now = self.wait(timeout, asked, |now| now.is_gone(process));
        if now.is_gone(process) {
            return Ok(());
        }
        let is_locked = matches!(&result, Err(failure) if failure.lock.is_some());
        if is_locked {
            return result;
        }
        if asked {
            let pid = process.pid;
            return result.and(Err(requested(&format!("has not ended QEMU process {pid}"))));
        }
        self.end_by_signals(process, result)
    }

    /// Ends a QEMU process that is still there after the clean stop, which returned `result`. Sends
    /// each signal only if the guest could be started again.
    fn end_by_signals(
        &mut self,
        process: Process,
        mut result: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let pid = process.pid;
        let mut state = process.state;
        for (step, force) in [("terminate", false), ("kill", true)] {
            if let Err(why) = self.prove_way_back() {
                // The clean stop may still take effect.
                let now = self.wait(self.limits.settle, false, |now| now.is_gone(process));
                if now.is_gone(process) {
                    return Ok(());
                }
                let end =
                    result.map_or_else(|end| format!("; {}", end.message), |()| String::new());
                return Err(Failure::from(format!(
                    "QEMU process {pid} was not ended by signals, because the guest could not be started \
                     again: {why}{end}"
                )));
            }
            result = self.signal(step, process, force);
            let now = self.wait(self.limits.terminate, false, |now| now.is_gone(process));
            if now.is_gone(process) {
                return Ok(());
            }
            state = now.process().map_or('?', |process| process.state);
        }
        result?;
        Err(Failure::from(format!(
            "QEMU process {pid} still exists (state {state}) after SIGKILL"
        )))
    }

    fn signal(&mut self, step: &str, process: Process, force: bool) -> Result<(), Failure> {
        let name = if force { "SIGKILL" } else { "SIGTERM" };
        let what = format!("{name} to QEMU process {}", process.pid);
        self.announce(step, &what, self.limits.terminate);
        Ok(self.driver.signal(process, force)?)
    }
}
