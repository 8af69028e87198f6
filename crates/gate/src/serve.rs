//! The complete path of one request: table, forensics, change, evidence, verdict.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::{Request, Verb, Verdict};
use serde_json::json;

use crate::context::Context;
use crate::driver::observe::{MONITOR_TIMEOUT, observe};
use crate::driver::{Driver, Evidence, HighAvailability, Location, Qemu};
use crate::forensics;
use crate::output::Output;
use crate::steps::Steps;
use crate::text::{EXPLANATION_MAX_CHARS, LINE_MAX_CHARS};
use crate::verdict::{conclude, judge};
use crate::{png, text, vitals};

/// Timeouts of a read-only verb for the monitor and for the hypervisor: a hung QEMU must show soon.
const QUICK_MONITOR_TIMEOUT: Duration = Duration::from_secs(2);
const QUICK_HYPERVISOR_TIMEOUT: Duration = Duration::from_secs(3);
/// How much longer the hypervisor may take if a child has to be killed, or the guest agent is asked.
const QUICK_HYPERVISOR_GRACE: Duration = Duration::from_secs(2);

/// Serves one request and returns the exit code: 0 done, 1 the verb failed, 2 refused.
///
/// The last line on `out` is `verdict: <verdict>`, or one JSON object with `verb`, `verdict` and
/// `exit`. A picture has no such line. A refusal is one error line that lists what is allowed.
///
/// Blocks until the verb has ended, at most for the sum of the limits, even if `out` is not read.
/// The caller makes sure that only one mutating verb runs at a time.
pub fn serve(context: &Context<'_>, driver: &mut dyn Driver, out: &mut dyn Output) -> u8 {
    let request = match context.request(out) {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    context.log("accepted", out);
    let mut session = Session {
        context,
        driver,
        out,
        status: None,
    };
    let (verdict, exit) = session.run(request.verb);
    let status = session.status.take();
    let verdict = verdict.to_string();
    context.log(&format!("finished verdict=\"{verdict}\" exit={exit}"), out);
    match status {
        _ if request.verb == Verb::Screenshot => {}
        Some(evidence) if request.json => {
            let mut last = evidence.json();
            last["verb"] = json!(request.verb.as_str());
            last["verdict"] = json!(verdict);
            last["exit"] = json!(exit);
            out.line(&last.to_string());
        }
        _ => out.line(&last_line(request, &verdict, exit)),
    }
    exit
}

/// The last line of a verb's output.
pub(crate) fn last_line(request: Request, verdict: &str, exit: u8) -> String {
    if request.json {
        let verb = request.verb.as_str();
        json!({ "verb": verb, "verdict": verdict, "exit": exit }).to_string()
    } else {
        format!("verdict: {}", text::visible(verdict, LINE_MAX_CHARS))
    }
}

struct Session<'a, 'c> {
    context: &'a Context<'c>,
    driver: &'a mut dyn Driver,
    out: &'a mut dyn Output,
    /// The evidence of a status, for programs.
    status: Option<Evidence>,
}

impl Session<'_, '_> {
    fn run(&mut self, verb: Verb) -> (Verdict, u8) {
        match verb {
            Verb::Screenshot => self.screenshot(),
            Verb::Vitals => {
                let (evidence, latency) = self.quick_evidence();
                let limits = self.context.limits;
                let vitals = vitals::sample(&evidence, latency, self.driver, limits);
                self.out.line(&vitals.to_string());
                conclude(verb, &evidence, &evidence, None)
            }
            Verb::Status => {
                let (evidence, _) = self.quick_evidence();
                self.print(&evidence);
                let end = conclude(verb, &evidence, &evidence, None);
                self.status = Some(evidence);
                end
            }
            Verb::Forensics => {
                let before = self.evidence();
                self.print(&before);
                let is_kept = self.forensics(verb, &before);
                let (verdict, exit) = conclude(verb, &before, &before, None);
                (verdict, exit.max(u8::from(!is_kept)))
            }
            Verb::Start | Verb::Stop | Verb::Reset | Verb::Cycle => self.mutate(verb),
        }
    }

    fn mutate(&mut self, verb: Verb) -> (Verdict, u8) {
        let before = self.evidence();
        self.print(&before);
        self.forensics(verb, &before);
        let mut steps = Steps {
            driver: self.driver,
            out: self.out,
            limits: self.context.limits,
        };
        let failure = steps.run(verb, &before).err();
        let after = self.evidence();
        self.print(&after);
        if let Some(failure) = &failure {
            let why = text::visible(&failure.message, 900);
            self.out.error(&format!("{verb} failed: {why}"));
        }
        if verb != Verb::Stop && before.process().is_some() && after.qemu == Qemu::Absent {
            self.report_off(&after);
        }
        conclude(verb, &before, &after, failure.as_ref())
    }

    fn forensics(&mut self, verb: Verb, before: &Evidence) -> bool {
        forensics::capture(verb, before, self.context, self.driver, self.out)
    }

    /// All evidence, for a mutating verb.
    fn evidence(&mut self) -> Evidence {
        let ask = self.context.limits.ask;
        let mut evidence = observe(self.driver, MONITOR_TIMEOUT.min(ask));
        self.driver.add_hypervisor_evidence(&mut evidence, ask);
        evidence
    }

    /// All evidence, within a few seconds, and how long the monitor took. The hypervisor is asked
    /// at the same time as the monitor if the driver supports it.
    fn quick_evidence(&mut self) -> (Evidence, Duration) {
        let ask = self.context.limits.ask;
        let timeout = QUICK_HYPERVISOR_TIMEOUT.min(ask);
        let began = Instant::now();
        let hypervisor = ask_hypervisor(self.driver, timeout);
        let mut evidence = observe(self.driver, QUICK_MONITOR_TIMEOUT.min(ask));
        let latency = began.elapsed();
        let Some(hypervisor) = hypervisor else {
            self.driver.add_hypervisor_evidence(&mut evidence, timeout);
            return (evidence, latency);
        };
        let left = (timeout + QUICK_HYPERVISOR_GRACE).saturating_sub(began.elapsed());
        let known = hypervisor
            .recv_timeout(left)
            .unwrap_or_else(|_| no_hypervisor_evidence(timeout));
        let evidence = Evidence {
            qemu: evidence.qemu,
            monitor: evidence.monitor,
            ..known
        };
        (evidence, latency)
    }

    fn print(&mut self, evidence: &Evidence) {
        for line in evidence.lines() {
            self.out.line(&text::visible(&line, LINE_MAX_CHARS));
        }
    }

    fn screenshot(&mut self) -> (Verdict, u8) {
        // The operator may wait for the picture before a power verb, so only this is probed.
        let ask = self.context.limits.ask;
        let mut evidence = observe(self.driver, MONITOR_TIMEOUT.min(ask));
        if evidence.qemu == Qemu::Absent {
            // The guest may be on another node.
            self.driver.add_hypervisor_evidence(&mut evidence, ask);
        }
        let picture = match evidence.process() {
            Some(_) => self.driver.screenshot(ask).and_then(png::encode),
            None => Err("the guest has no QEMU process".to_owned()),
        };
        let exit = match picture {
            Ok(picture) => {
                self.out.picture(&picture);
                0
            }
            Err(why) => {
                let why = text::visible(&why, LINE_MAX_CHARS);
                self.out.error(&format!("no picture: {why}"));
                1
            }
        };
        (judge(&evidence), exit)
    }

    /// Reports that a guest that was running is off.
    fn report_off(&mut self, after: &Evidence) {
        let guest = self.context.guest;
        let message = match &after.location {
            Location::OtherNode(node) => {
                format!("guest {guest} was running here and is on {node} now: send the verb there")
            }
            Location::ThisHost | Location::Gone => format!(
                "GUEST {guest} WAS RUNNING AND IS NOW OFF: send start, or start it by hand on the host"
            ),
        };
        self.out
            .error(&text::visible(&message, EXPLANATION_MAX_CHARS));
    }
}

/// Asks the hypervisor on a thread, which is abandoned if it hangs; none if the driver does not
/// support it.
fn ask_hypervisor(driver: &dyn Driver, timeout: Duration) -> Option<Receiver<Evidence>> {
    let mut driver = driver.duplicate()?;
    let (sender, receiver) = mpsc::sync_channel(1);
    let ask = move || {
        let mut evidence = Evidence {
            qemu: driver.find_qemu(),
            ..Evidence::default()
        };
        driver.add_hypervisor_evidence(&mut evidence, timeout);
        let _ = sender.send(evidence);
    };
    let spawned = thread::Builder::new().spawn(ask);
    spawned.is_ok().then_some(receiver)
}

fn no_hypervisor_evidence(timeout: Duration) -> Evidence {
    let seconds = timeout.as_secs();
    Evidence {
        notes: vec![format!("the hypervisor: no answer within {seconds} s")],
        ha: HighAvailability::Unknown("no answer in time".to_owned()),
        ..Evidence::default()
    }
}
