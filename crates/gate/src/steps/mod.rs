//! The steps of a mutating verb. Each prints what it does and for how long at most, and then observes
//! the guest.
//!
//! ```text
//!  cycle:  could it be started again? ──no──▶ nothing is changed
//!            │ yes
//!            ▼
//!          stop ──▶ gone? ──▶ remove the lock of an interrupted suspension ──▶ start ──▶ runs?
//!            │                                              again, while it fails ◀─┘
//!            │ not gone
//!            ▼
//!        not started: two QEMU processes on one disk would destroy it
//!
//!  stop:   could it be started again? ──no──▶ print why, and try only the clean stop
//!          clean stop ──▶ gone? ──▶ way back? ──▶ SIGTERM ──▶ gone? ──▶ way back? ──▶ SIGKILL ──▶ gone?
//!              │ a lock forbids it
//!              ▼
//!          left alone
//!
//!  if high availability decides, a stop and a start are requests:
//!  cycle:  way back? ──▶ request the stop ──▶ wait ──▶ request the start, gone or not ──▶ wait ──▶ new process?
//! ```
//!
//! The gate ends a guest, by the hypervisor for a cycle or by signals for any verb, only if the driver
//! has just proven the way back ([`WayBack`](crate::WayBack)).

mod change;
mod start;
mod stop;

use breakglass_verbs::{Verb, Verdict};

use crate::driver::observe::{MONITOR_TIMEOUT, observe};
use crate::driver::run_state::Recovery;
use crate::driver::{Action, Driver, Evidence, Failure, Location, Monitor, Qemu, RunState};
use crate::output::Output;
use crate::policy::Limits;
use crate::text::{self, EXPLANATION_MAX_CHARS, LINE_MAX_CHARS};
use crate::verdict::judge;

/// How much longer than any other query the check of the way back may take, as a factor: a tool that
/// is slow on a busy host can still start a guest.
const WAY_BACK_TIMEOUT_FACTOR: u32 = 3;

/// A mutating verb that is being carried out.
pub(crate) struct Steps<'a> {
    pub(crate) driver: &'a mut dyn Driver,
    pub(crate) out: &'a mut dyn Output,
    pub(crate) limits: &'a Limits,
}

impl Steps<'_> {
    /// Carries out `verb` on a guest that was observed as `before`.
    ///
    /// # Errors
    /// Why the verb was not carried out, or not completely.
    pub(crate) fn run(&mut self, verb: Verb, before: &Evidence) -> Result<(), Failure> {
        let allowed = check_state(verb, before).and_then(|()| self.check_way_back(verb, before));
        allowed.map_err(|why| Failure::from(format!("{why}; nothing was changed")))?;
        match verb {
            Verb::Start => self.start_or_resume(before),
            Verb::Stop => self.stop(before),
            Verb::Reset => self.reset(),
            Verb::Cycle => self.cycle(before),
            Verb::Status | Verb::Forensics | Verb::Vitals | Verb::Screenshot => Ok(()),
        }
    }

    /// Requires a way back for a cycle. For a stop, only warns if there is none.
    fn check_way_back(&mut self, verb: Verb, before: &Evidence) -> Result<(), String> {
        if verb == Verb::Cycle {
            return self
                .prove_way_back()
                .map_err(|why| format!("the guest could not be started again: {why}"));
        }
        if verb == Verb::Stop
            && before.qemu != Qemu::Absent
            && let Err(why) = self.prove_way_back()
        {
            self.explain(&format!(
                "stop: afterwards the guest can't be started again: {why}"
            ));
        }
        Ok(())
    }

    /// Checks whether the guest could be started again now.
    fn prove_way_back(&mut self) -> Result<(), String> {
        let ask = self.limits.ask;
        let mut now = observe(self.driver, MONITOR_TIMEOUT.min(ask));
        let timeout = ask * WAY_BACK_TIMEOUT_FACTOR;
        self.driver.add_hypervisor_evidence(&mut now, timeout);
        let proof = format!("way back: {}", now.way_back.proof()?);
        self.out.line(&text::visible(&proof, LINE_MAX_CHARS));
        Ok(())
    }

    fn start_or_resume(&mut self, before: &Evidence) -> Result<(), Failure> {
        if judge(before) == Verdict::Running && !before.ha.wants_it_off() {
            self.out
                .line("start: the guest already runs; nothing to do");
            return Ok(());
        }
        let Some(state) = before.run_state() else {
            return self.start(before, false);
        };
        match state.recovery() {
            Recovery::NotNeeded => self.start(before, false),
            Recovery::Resume => self.resume(Action::Resume, "the guest is paused; resuming it"),
            Recovery::Wake => self.resume(Action::Wake, "the guest sleeps; waking it"),
            Recovery::Restart | Recovery::Wait | Recovery::Elsewhere | Recovery::Unknown => {
                Err(Failure::from(state.remedy().to_owned()))
            }
        }
    }

    fn cycle(&mut self, before: &Evidence) -> Result<(), Failure> {
        let Err(failure) = self.stop(before) else {
            return self.start(before, before.qemu != Qemu::Absent);
        };
        if !before.ha.decides() || failure.lock.is_some() {
            return Err(failure);
        }
        // A registered request to stop could be carried out at any time.
        let message = &failure.message;
        self.explain(&format!("{message}; requesting the start anyway"));
        if failure.requested {
            return self.start(before, true);
        }
        let _ = self.change(Action::Start, "despite the failed stop", self.limits.start);
        Err(failure)
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.change_in_turn(Action::Reset, "warm reset", self.limits.ask)?;
        let is_reset = |now: &Evidence| judge(now) == Verdict::Running || is_paused(now);
        let now = self.wait(self.limits.settle, false, is_reset);
        if is_paused(&now) {
            return self.resume(Action::Resume, "the guest is paused; resuming it");
        }
        Ok(())
    }

    /// Resumes or wakes the guest.
    fn resume(&mut self, action: Action, what: &str) -> Result<(), Failure> {
        self.change(action, what, self.limits.ask)?;
        let runs = |now: &Evidence| judge(now) == Verdict::Running;
        self.wait(self.limits.settle, false, runs);
        Ok(())
    }

    /// Prints a sentence that explains a decision.
    fn explain(&mut self, sentence: &str) {
        self.out
            .line(&text::visible(sentence, EXPLANATION_MAX_CHARS));
    }
}

/// Checks that the guest's state allows `verb`.
fn check_state(verb: Verb, before: &Evidence) -> Result<(), String> {
    if let (Qemu::Absent, Location::OtherNode(node)) = (&before.qemu, &before.location) {
        return Err(format!(
            "the guest is not on this host; send {verb} to {node}"
        ));
    }
    if let Monitor::Unreachable(why) = &before.monitor {
        return Err(why.clone());
    }
    let is_elsewhere = |state: &&RunState| state.recovery() == Recovery::Elsewhere;
    if let Some(state) = before.run_state().filter(is_elsewhere)
        && verb != Verb::Stop
    {
        // Two QEMU processes would write to one disk.
        return Err(state.remedy().to_owned());
    }
    if let (Qemu::Unknown(why), Verb::Start | Verb::Cycle) = (&before.qemu, verb) {
        return Err(format!(
            "it is unknown whether the guest has a QEMU process ({why}), and a second one on its disks \
             would destroy them"
        ));
    }
    if verb == Verb::Reset && before.reset_ends_qemu {
        return Err(
            "a reset would end QEMU, which is configured not to reboot (reboot: 0, or on_reboot); send \
             cycle, which starts it again"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether the guest is paused in a state that it can be resumed from.
fn is_paused(evidence: &Evidence) -> bool {
    let state = evidence.run_state();
    state.is_some_and(|state| state.recovery() == Recovery::Resume)
}

/// The failure if high availability has not carried out a request in time.
fn requested(what: &str) -> Failure {
    Failure {
        requested: true,
        ..Failure::from(format!(
            "high availability was asked and {what} yet; it decides, and the request stays registered"
        ))
    }
}
