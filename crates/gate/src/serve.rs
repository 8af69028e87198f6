//! The whole path of one request: table, forensics, change, evidence, verdict.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::{Request, Verb, Verdict};
use serde_json::json;

use crate::driver::{Driver, Evidence, Failure, Ha, Home, Qemu};
use crate::forensics;
use crate::journal::{Asked, Journal};
use crate::ladder::{Ladder, MONITOR};
use crate::output::Output;
use crate::policy::{Keep, Limits};
use crate::verdict::{conclude, judge};
use crate::{png, text, vitals};

/// Longest wait for the monitor, and for what the hypervisor knows, of a verb that only looks: a
/// hung QEMU has to show soon, and is looked at again.
const LOOK: Duration = Duration::from_secs(2);
const SETTINGS: Duration = Duration::from_secs(3);

/// Exit code of a refusal: nothing was looked at, nothing was changed.
pub(crate) const REFUSED: u8 = 2;

/// What surrounds one request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The guest's id from the policy, for messages only: the driver knows its guest itself.
    pub guest: &'a str,
    /// The request, and whom it came from.
    pub asked: Asked<'a>,
    /// Where forensics are kept, in one directory for each capture. Created with mode 0700.
    pub forensics_dir: &'a Path,
    /// How much of them.
    pub keep: &'a Keep,
    /// Where each decision is written down.
    pub journal: &'a dyn Journal,
    /// How long the gate waits.
    pub limits: &'a Limits,
}

impl Context<'_> {
    /// Writes one decision down; tells on `out` if that fails.
    pub(crate) fn note(&self, decision: &str, out: &mut dyn Output) {
        let recorded = self.journal.record(self.asked, decision);
        recorded.unwrap_or_else(|error| out.error(&error));
    }

    /// Refuses the request, with why and with what is allowed instead; the exit code.
    pub fn refuse(&self, why: &str, allowed: &str, out: &mut dyn Output) -> u8 {
        let reason = why.replace('"', "'");
        self.note(&format!("refused reason=\"{reason}\""), out);
        out.error(&format!("refused: {why}; allowed: {allowed}"));
        REFUSED
    }

    /// The request, compared whole with the table of verbs.
    ///
    /// # Errors
    /// The exit code of the refusal, which is told.
    pub fn request(&self, out: &mut dyn Output) -> Result<Request, u8> {
        let line = self.asked.request;
        Request::parse(line).ok_or_else(|| {
            let shown = text::ascii(line, 60);
            let why = match line {
                "" => "no verb given".to_owned(),
                _ => format!("\"{shown}\" is not in the table of verbs"),
            };
            self.refuse(&why, &Verb::allowed(), out)
        })
    }
}

/// Serves one request and returns the exit code: 0 done, 1 the verb failed, 2 refused.
///
/// The last line on `out` is `verdict: <verdict>`, or one JSON object with `verb`, `verdict` and
/// `exit`; a picture has no such line. A refusal is one error line that says what is allowed.
///
/// Blocks until the verb ended, at most for the sum of the limits, and never because nobody reads
/// `out` any more. Single flight of the mutating verbs is the caller's.
pub fn serve(context: &Context<'_>, driver: &mut dyn Driver, out: &mut dyn Output) -> u8 {
    let request = match context.request(out) {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    context.note("accepted", out);
    let mut session = Session {
        context,
        driver,
        out,
        seen: None,
    };
    let (verdict, exit) = session.act(request.verb);
    let seen = session.seen.take();
    context.note(&format!("finished verdict=\"{verdict}\" exit={exit}"), out);
    match seen {
        _ if request.verb == Verb::Screenshot => {}
        Some(seen) if request.json => {
            let mut last = seen.json();
            last["verb"] = json!(request.verb.as_str());
            last["verdict"] = json!(verdict.to_string());
            last["exit"] = json!(exit);
            out.line(&last.to_string());
        }
        _ => out.line(&last_line(request, &verdict.to_string(), exit)),
    }
    exit
}

/// How a verb ended.
pub(crate) fn last_line(request: Request, verdict: &str, exit: u8) -> String {
    let verb = request.verb.as_str();
    match request.json {
        true => json!({ "verb": verb, "verdict": verdict, "exit": exit }).to_string(),
        false => format!("verdict: {}", text::visible(verdict, 400)),
    }
}

/// What the hypervisor knows, asked by a thread that is left behind when it hangs.
fn settings_beside(driver: &dyn Driver, limit: Duration) -> Option<Receiver<Evidence>> {
    let mut twin = driver.twin()?;
    let (tell, told) = mpsc::sync_channel(1);
    let ask = move || {
        let mut seen = Evidence {
            qemu: twin.find(),
            ..Evidence::default()
        };
        twin.settings(&mut seen, limit);
        let _ = tell.send(seen);
    };
    let spawned = thread::Builder::new().spawn(ask);
    spawned.is_ok().then_some(told)
}

struct Session<'a, 'c> {
    context: &'a Context<'c>,
    driver: &'a mut dyn Driver,
    out: &'a mut dyn Output,
    /// What a status saw, for programs.
    seen: Option<Evidence>,
}

impl Session<'_, '_> {
    fn act(&mut self, verb: Verb) -> (Verdict, u8) {
        if verb == Verb::Screenshot {
            // Somebody may be about to end what the screen shows, and waits for no more than this.
            let ask = self.context.limits.ask;
            let mut before = Evidence::glance(self.driver, MONITOR.min(ask));
            if before.qemu == Qemu::Absent {
                // It may live on another host.
                self.driver.settings(&mut before, ask);
            }
            return (judge(&before), self.screenshot(&before));
        }
        let (before, took) = self.look(matches!(verb, Verb::Vitals | Verb::Status));
        let looked = conclude(verb, &before, &before, None);
        match verb {
            Verb::Vitals => {
                let vitals = vitals::sample(&before, took, self.driver, self.context.limits);
                self.out.line(&vitals.to_string());
                return looked;
            }
            _ => self.tell(&before),
        }
        if verb == Verb::Status {
            self.seen = Some(before);
            return looked;
        }
        let kept = forensics::capture(verb, &before, self.context, self.driver, self.out);
        if !verb.is_mutating() {
            return (looked.0, looked.1.max(u8::from(!kept)));
        }
        let limits = self.context.limits;
        let mut ladder = Ladder {
            driver: self.driver,
            out: self.out,
            limits,
        };
        let failure = ladder.climb(verb, &before);
        let (after, _) = self.look(false);
        self.tell(&after);
        self.explain(verb, &before, &after, failure.as_ref());
        conclude(verb, &before, &after, failure.as_ref())
    }

    /// All evidence, and how long process and monitor took. For a verb that only looks the answer has
    /// to come `soon`: what the hypervisor knows is asked beside the monitor where the driver can.
    fn look(&mut self, soon: bool) -> (Evidence, Duration) {
        let ask = self.context.limits.ask;
        let (monitor, settings) = match soon {
            true => (LOOK.min(ask), SETTINGS.min(ask)),
            false => (MONITOR.min(ask), ask),
        };
        let began = Instant::now();
        let beside = soon.then(|| settings_beside(self.driver, settings));
        let mut seen = Evidence::glance(self.driver, monitor);
        let took = began.elapsed();
        match beside.flatten() {
            Some(beside) => {
                // A child that has to be killed takes a moment more, and so does the guest agent.
                let left = (settings + Duration::from_secs(2)).saturating_sub(began.elapsed());
                let known = beside.recv_timeout(left).unwrap_or_else(|_| Evidence {
                    notes: vec![format!(
                        "what the hypervisor knows: no answer within {} s",
                        settings.as_secs()
                    )],
                    ha: Ha::Unknown("no answer in time".to_owned()),
                    ..Evidence::default()
                });
                let (qemu, monitor) = (seen.qemu, seen.monitor);
                seen = Evidence {
                    qemu,
                    monitor,
                    ..known
                };
            }
            None => self.driver.settings(&mut seen, settings),
        }
        (seen, took)
    }

    fn tell(&mut self, evidence: &Evidence) {
        for line in evidence.lines() {
            self.out.line(&text::visible(&line, 400));
        }
    }

    fn screenshot(&mut self, before: &Evidence) -> u8 {
        let limit = self.context.limits.ask;
        let picture = match before.process() {
            Some(_) => self.driver.screen(limit).and_then(png::from),
            None => Err("the guest has no QEMU process".to_owned()),
        };
        let why = match picture {
            Ok(picture) => {
                self.out.picture(&picture);
                return 0;
            }
            Err(why) => text::visible(&why, 400),
        };
        self.out.error(&format!("no picture: {why}"));
        1
    }

    fn explain(
        &mut self,
        verb: Verb,
        before: &Evidence,
        after: &Evidence,
        failure: Option<&Failure>,
    ) {
        if let Some(failure) = failure {
            let why = text::visible(&failure.message, 900);
            self.out.error(&format!("{verb} failed: {why}"));
        }
        if verb == Verb::Stop || before.process().is_none() || after.qemu != Qemu::Absent {
            return;
        }
        let guest = self.context.guest;
        if let Home::On(node) = &after.home {
            self.out.error(&text::visible(
                &format!("guest {guest} ran here and lives on {node} now: ask there"),
                400,
            ));
        } else {
            self.out.error(&format!(
                "GUEST {guest} WAS RUNNING AND IS NOW OFF: send start, or start it by hand on the host"
            ));
        }
    }
}
