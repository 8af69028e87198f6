//! The whole path of one request: table, forensics, change, evidence, verdict.

use std::path::Path;

use breakglass_verbs::{Request, Verb, Verdict};

use crate::driver::{Driver, Evidence, Failure, Qemu};
use crate::journal::{Decision, Entry, Journal};
use crate::ladder::Ladder;
use crate::limits::Limits;
use crate::output::Output;
use crate::probe;
use crate::text;
use crate::verdict::conclude;

/// Exit code of a refusal: nothing was looked at, nothing was changed.
pub(crate) const REFUSED: u8 = 2;

/// What surrounds one request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The guest's id from the policy, for messages only: the driver knows its guest itself.
    pub guest: &'a str,
    /// The peer's address, from `SSH_CONNECTION`.
    pub source: &'a str,
    /// Where forensics are kept, in one directory for each capture. Created with mode 0700.
    pub forensics_dir: &'a Path,
    /// Where each decision is written down.
    pub journal: &'a dyn Journal,
    /// Every wait ends at one of these.
    pub limits: Limits,
}

/// Serves one request and returns the exit code: 0 done, 1 the verb failed, 2 refused.
///
/// `line` is compared whole with the table of verbs. The last line on `out` is
/// `verdict: <verdict>`, or one JSON object with `verb`, `verdict` and `exit`. A refusal is one
/// error line that says what is allowed.
///
/// Blocks until the verb ended, at most for the sum of the limits, and never because nobody reads
/// `out` any more.
pub fn serve(
    line: &str,
    context: &Context<'_>,
    driver: &mut dyn Driver,
    out: &mut dyn Output,
) -> u8 {
    let mut session = Session {
        line,
        context,
        driver,
        out,
    };
    let Some(request) = Request::parse(line) else {
        let why = match line {
            "" => "no verb given".to_owned(),
            _ => format!("\"{}\" is not in the table of verbs", text::ascii(line, 60)),
        };
        return session.refuse(&why, &Verb::allowed());
    };
    if request.verb.is_mutating()
        && let Err(why) = session.driver.claim(request.verb)
    {
        return session.refuse(&why, "status, forensics until it has ended");
    }
    session.note(Decision::Accepted);
    let (verdict, exit) = session.act(request.verb);
    session.note(Decision::Finished(&verdict, exit));
    session.out.line(&last_line(request, &verdict, exit));
    exit
}

struct Session<'a, 'c> {
    line: &'a str,
    context: &'a Context<'c>,
    driver: &'a mut dyn Driver,
    out: &'a mut dyn Output,
}

impl Session<'_, '_> {
    fn refuse(&mut self, why: &str, allowed: &str) -> u8 {
        self.note(Decision::Refused(why));
        self.out
            .error(&format!("refused: {why}; allowed: {allowed}"));
        REFUSED
    }

    fn note(&mut self, decision: Decision<'_>) {
        let entry = Entry {
            source: self.context.source,
            request: self.line,
            decision,
        };
        if let Err(error) = self.context.journal.record(&entry) {
            self.out.error(&error);
        }
    }

    fn act(&mut self, verb: Verb) -> (Verdict, u8) {
        let before = self.driver.evidence();
        self.tell(&before);
        let kept =
            verb == Verb::Status || probe::capture(verb, self.context, self.driver, self.out);
        if !verb.is_mutating() {
            let (verdict, exit) = conclude(verb, &before, &before, None);
            return (verdict, if kept { exit } else { 1 });
        }
        let limits = self.context.limits;
        let failure = Ladder {
            driver: self.driver,
            out: self.out,
            limits,
        }
        .climb(verb, &before);
        let after = self.driver.evidence();
        self.tell(&after);
        self.explain(verb, &before, &after, failure.as_ref());
        conclude(verb, &before, &after, failure.as_ref())
    }

    fn tell(&mut self, evidence: &Evidence) {
        for line in evidence.lines() {
            self.out.line(&text::visible(&line, 400));
        }
    }

    fn explain(
        &mut self,
        verb: Verb,
        before: &Evidence,
        after: &Evidence,
        failure: Option<&Failure>,
    ) {
        if let Some(failure) = failure {
            self.out.error(&format!(
                "{verb} failed: {}",
                text::visible(&failure.message, 400)
            ));
        }
        if verb != Verb::Stop && before.process().is_some() && after.qemu == Qemu::Absent {
            self.out.error(&format!(
                "GUEST {} WAS RUNNING AND IS NOW OFF: send start, or start it by hand on the host",
                self.context.guest
            ));
        }
    }
}

fn last_line(request: Request, verdict: &Verdict, exit: u8) -> String {
    let verdict = verdict.to_string();
    if request.json {
        let verb = request.verb.as_str();
        serde_json::json!({ "verb": verb, "verdict": verdict, "exit": exit }).to_string()
    } else {
        format!("verdict: {}", text::visible(&verdict, 400))
    }
}
