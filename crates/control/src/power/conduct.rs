//! One verb over one link: sent, listened to, and judged by what the gate said.

use std::time::{Duration, Instant};

use breakglass_model::{OutputStream, VerbOutcome};
use breakglass_verbs::{Request, Verb, Verdict};
use serde::Serialize;

use crate::ssh::SshError;
use crate::ssh::exec::{Exit, Order, Sink};
use crate::ssh::lanes::Lanes;
use crate::ssh::pool::Urgency;

/// How a verb ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conclusion {
    /// In one word.
    pub outcome: VerbOutcome,
    /// The gate's verdict, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The gate's exit code, if it was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// A sentence: what happened, and what to do next where it failed.
    pub message: String,
    /// How long it took.
    pub duration_ms: u64,
    /// What kept the verb from the host, or its end from us.
    #[serde(skip)]
    pub(crate) error: Option<SshError>,
    /// The gate itself said that it knows no such verb: it is an older one.
    #[serde(skip)]
    pub(crate) is_unknown_word: bool,
}

/// Longest time that `verb` may take. A clean stop alone can take 100 s on the host; forensics
/// come before it, and two starts may follow. The verb goes on there without us, too.
pub(crate) const fn deadline(verb: Verb) -> Duration {
    match verb {
        Verb::Status | Verb::Vitals | Verb::Screenshot => Duration::from_secs(60),
        Verb::Forensics => Duration::from_secs(120),
        Verb::Start | Verb::Stop | Verb::Reset | Verb::Cycle => LONGEST,
    }
}

/// Longest time that any verb may take: whoever follows one waits as long.
pub const LONGEST: Duration = Duration::from_secs(540);

/// Runs `verb` over `lanes`, hands each line to `sink`, and says how it ended.
pub(crate) async fn conduct(
    lanes: &Lanes,
    verb: Verb,
    urgency: Urgency,
    sink: Sink<'_>,
) -> Conclusion {
    conduct_within(lanes, verb, deadline(verb), urgency, sink).await
}

/// The same with a deadline of its own.
pub(crate) async fn conduct_within(
    lanes: &Lanes,
    verb: Verb,
    deadline: Duration,
    urgency: Urgency,
    sink: Sink<'_>,
) -> Conclusion {
    let started = Instant::now();
    let command = Request { verb, json: false }.to_string();
    let mut said = Said::default();
    let ended = {
        let order = Order {
            command: &command,
            deadline,
            urgency,
        };
        let mut listen = |stream, line: &str| {
            if verb == Verb::Screenshot && stream == OutputStream::Stdout {
                // A picture is no line; Control::screenshot hands it out.
                return;
            }
            said.hear(stream, line);
            sink(stream, line);
        };
        lanes.exec(order, &mut listen).await
    };
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    judge(verb, ended, &said, duration_ms)
}

/// The lines that matter for the judgement.
#[derive(Debug, Default)]
struct Said {
    last_stdout: String,
    last_stderr: String,
}

impl Said {
    fn hear(&mut self, stream: OutputStream, line: &str) {
        let last = match stream {
            OutputStream::Stdout => &mut self.last_stdout,
            OutputStream::Stderr => &mut self.last_stderr,
        };
        line.clone_into(last);
    }

    fn verdict(&self) -> Option<Verdict> {
        Verdict::parse(self.last_stdout.strip_prefix("verdict: ")?)
    }

    /// In the gate's words, which list what it allows; a shell refuses otherwise.
    fn is_unknown_word(&self, verb: Verb) -> bool {
        let refusal = self.last_stderr.strip_prefix("refused: ");
        refusal.is_some_and(|refusal| {
            let allowed = refusal
                .split_once("allowed: ")
                .map_or("", |(_, allowed)| allowed);
            !allowed.split(", ").any(|word| word == verb.as_str())
        })
    }

    fn complaint(&self) -> &str {
        match (self.last_stderr.as_str(), self.last_stdout.as_str()) {
            ("", "") => "it said nothing",
            ("", said) | (said, _) => said,
        }
    }
}

fn judge(verb: Verb, ended: Result<Exit, SshError>, said: &Said, duration_ms: u64) -> Conclusion {
    let verdict = said.verdict();
    let (outcome, message) = match &ended {
        Ok(Exit::Code(0)) => done(verb, verdict.as_ref(), said),
        Ok(Exit::Code(1)) => (VerbOutcome::Failed, failed(verb, verdict.as_ref(), said)),
        Ok(Exit::Code(2)) => (VerbOutcome::Refused, refused(verb, said)),
        Ok(other) => (VerbOutcome::Failed, no_gate(*other, said)),
        Err(error) => (VerbOutcome::Unreachable, unreachable(verb, error)),
    };
    let exit_code = match ended {
        Ok(Exit::Code(code)) => i32::try_from(code).ok(),
        _ => None,
    };
    let verdict = verdict.map(|verdict| verdict.to_string());
    let is_unknown_word = outcome == VerbOutcome::Refused && said.is_unknown_word(verb);
    Conclusion {
        outcome,
        verdict,
        exit_code,
        message,
        duration_ms,
        error: ended.err(),
        is_unknown_word,
    }
}

fn done(verb: Verb, verdict: Option<&Verdict>, said: &Said) -> (VerbOutcome, String) {
    match verdict {
        Some(verdict) if verb.is_mutating() && !agrees(verb, verdict) => {
            let message = format!(
                "The gate reports {verb} as done, but the evidence says: {verdict}. Ask status, then forensics."
            );
            (VerbOutcome::Failed, message)
        }
        Some(verdict) => (
            VerbOutcome::Done,
            format!("{verb} done; the guest: {verdict}."),
        ),
        None if matches!(verb, Verb::Forensics | Verb::Screenshot) => {
            (VerbOutcome::Done, format!("{verb} done."))
        }
        None => {
            let message = format!(
                "{verb} ended without a verdict, so what answered last is not the gate ({}); check the forced command in the host's authorized_keys, and that nothing prints beside it.",
                said.complaint()
            );
            (VerbOutcome::Failed, message)
        }
    }
}

const fn agrees(verb: Verb, verdict: &Verdict) -> bool {
    match verb {
        Verb::Stop => matches!(verdict, Verdict::Stopped),
        Verb::Start | Verb::Reset | Verb::Cycle => {
            matches!(verdict, Verdict::Running | Verdict::HaManaged)
        }
        Verb::Status | Verb::Forensics | Verb::Vitals | Verb::Screenshot => true,
    }
}

fn failed(verb: Verb, verdict: Option<&Verdict>, said: &Said) -> String {
    let state = verdict.map_or(String::new(), |verdict| format!(" The guest: {verdict}."));
    format!(
        "{verb} failed on the host: {}.{state} Read its output, then ask status.",
        said.complaint()
    )
}

fn refused(verb: Verb, said: &Said) -> String {
    format!(
        "The gate refused {verb}: {}. Nothing was changed.",
        said.complaint()
    )
}

fn no_gate(exit: Exit, said: &Said) -> String {
    let how = match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Abnormal => "no exit code".to_owned(),
    };
    format!(
        "The host answered with {how}, which the gate never gives ({}); check that breakglass-gate is installed and is the forced command of this key.",
        said.complaint()
    )
}

fn unreachable(verb: Verb, error: &SshError) -> String {
    let doubt = if error.while_running() && verb.is_mutating() {
        format!(" What became of {verb} is not known: ask status.")
    } else {
        String::new()
    };
    format!("{error}.{doubt}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::error::Stage;
    use crate::target::Endpoint;

    fn outcome(verb: Verb, code: u32, stdout: &str, stderr: &str) -> Conclusion {
        let said = Said {
            last_stdout: stdout.into(),
            last_stderr: stderr.into(),
        };
        judge(verb, Ok(Exit::Code(code)), &said, 7)
    }

    #[test]
    fn the_exit_code_and_the_verdict_together_make_the_outcome() {
        use VerbOutcome::{Done, Failed, Refused};
        let rows = [
            (Verb::Status, 0, "verdict: stopped", Done),
            (Verb::Status, 0, "verdict: unknown (no answer)", Done),
            (Verb::Forensics, 0, "saved", Done),
            (Verb::Screenshot, 0, "", Done),
            (Verb::Vitals, 0, "{}", Failed),
            (Verb::Cycle, 0, "verdict: running", Done),
            (Verb::Cycle, 0, "verdict: stopped", Failed),
            (
                Verb::Cycle,
                0,
                "verdict: ha-managed (requested; HA decides)",
                Done,
            ),
            (Verb::Stop, 0, "verdict: stopped", Done),
            (Verb::Stop, 0, "verdict: unkillable (D state)", Failed),
            (Verb::Start, 0, "started", Failed),
            (Verb::Start, 0, "", Failed),
            (Verb::Start, 1, "verdict: stopped", Failed),
            (Verb::Cycle, 2, "", Refused),
            (Verb::Cycle, 127, "", Failed),
            (Verb::Cycle, 255, "verdict: running", Failed),
        ];
        for (verb, code, line, expected) in rows {
            let conclusion = outcome(verb, code, line, "");
            assert_eq!(
                conclusion.outcome, expected,
                "{verb} {code} {line:?}: {}",
                conclusion.message
            );
        }
    }

    #[test]
    fn a_refusal_repeats_what_the_gate_allows() {
        let conclusion = outcome(
            Verb::Cycle,
            2,
            "",
            "refused: no. allowed: status, forensics",
        );
        assert!(
            conclusion.message.contains("allowed: status, forensics"),
            "{}",
            conclusion.message
        );
        assert_eq!(conclusion.exit_code, Some(2));
    }

    #[test]
    fn only_the_gate_itself_is_taken_for_an_older_one() {
        let rows = [
            (
                2,
                "refused: \"vitals\" is no verb; allowed: status, forensics",
                true,
            ),
            (2, "refused: \"vitals\"", true),
            (2, "refused: a reason; allowed: status, vitals", false),
            (2, "bash: syntax error near vitals", false),
            (127, "sh: 1: vitals: not found", false),
            (2, "", false),
        ];
        for (code, said, is_old) in rows {
            let conclusion = outcome(Verb::Vitals, code, "", said);
            assert_eq!(conclusion.is_unknown_word, is_old, "{code} {said:?}");
        }
    }

    #[test]
    fn what_prints_after_the_gate_is_named() {
        let conclusion = outcome(Verb::Status, 0, "Goodbye!", "");
        assert!(
            conclusion.message.contains("(Goodbye!)"),
            "{}",
            conclusion.message
        );
    }

    #[test]
    fn a_verb_that_lost_its_connection_says_that_its_fate_is_unknown() {
        let endpoint = Endpoint {
            host: "192.0.2.1".into(),
            port: 22,
            user: "root".into(),
        };
        let lost = SshError::Lost {
            endpoint: endpoint.clone(),
            command: "cycle".into(),
        };
        let late = |stage| {
            let after = Duration::from_secs(1);
            SshError::TimedOut {
                endpoint: endpoint.clone(),
                stage,
                after,
            }
        };
        for (error, doubt) in [
            (lost, true),
            (late(Stage::Running), true),
            (late(Stage::Connecting), false),
        ] {
            let conclusion = judge(Verb::Cycle, Err(error), &Said::default(), 1);
            assert_eq!(conclusion.outcome, VerbOutcome::Unreachable);
            assert_eq!(
                conclusion.message.contains("ask status"),
                doubt,
                "{}",
                conclusion.message
            );
        }
    }
}
