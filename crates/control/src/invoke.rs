//! Runs one verb over SSH and derives its result from the gate's output.

use std::time::{Duration, Instant};

use breakglass_model::{OutputStream, VerbOutcome};
use breakglass_verbs::{Request, Verb, Verdict};
use serde::{Serialize, Serializer};

use crate::ssh::SshError;
use crate::ssh::exec::{LineSink, RemoteCommand};
use crate::ssh::pool::ConnectionPool;
use crate::ssh::warm::Priority;

/// The longest timeout of any verb. A clean stop alone can take 100 s on the host; forensics come before it,
/// and two starts may follow. The verb continues there without us, too.
pub const VERB_TIMEOUT_MAX: Duration = Duration::from_secs(540);

/// How long a client follows an operation: the longest verb, and the time around it (connecting, the picture
/// of the screen, the last events).
pub const VERB_FOLLOW_TIMEOUT: Duration = Duration::from_secs(VERB_TIMEOUT_MAX.as_secs() + 90);

/// The result of a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerbResult {
    /// The outcome.
    pub outcome: VerbOutcome,
    /// The gate's verdict, if there was one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub verdict: Option<Verdict>,
    /// The gate's exit code, if it was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// A sentence: what happened, and what to do next if it failed.
    pub message: String,
    /// How long it took.
    pub duration_ms: u64,
    /// Why the verb did not reach the host, or its result did not reach us.
    #[serde(skip)]
    pub(crate) error: Option<SshError>,
    /// The gate does not know the verb: it is an older one.
    #[serde(skip)]
    pub(crate) is_unknown_verb: bool,
}

fn as_text<S: Serializer>(verdict: &Option<Verdict>, serializer: S) -> Result<S::Ok, S::Error> {
    match verdict {
        Some(verdict) => serializer.collect_str(verdict),
        None => serializer.serialize_none(),
    }
}

const fn verb_timeout(verb: Verb) -> Duration {
    match verb {
        Verb::Status | Verb::Vitals | Verb::Screenshot => Duration::from_secs(60),
        Verb::Forensics => Duration::from_secs(120),
        Verb::Start | Verb::Stop | Verb::Reset | Verb::Cycle => VERB_TIMEOUT_MAX,
    }
}

/// Runs `verb` over `host` and passes each line of its output to `sink`.
pub(crate) async fn invoke(
    host: &ConnectionPool,
    verb: Verb,
    priority: Priority,
    sink: LineSink<'_>,
) -> VerbResult {
    invoke_within(host, verb, verb_timeout(verb), priority, sink).await
}

/// Like [`invoke`], with a timeout of its own.
pub(crate) async fn invoke_within(
    host: &ConnectionPool,
    verb: Verb,
    timeout: Duration,
    priority: Priority,
    sink: LineSink<'_>,
) -> VerbResult {
    let started = Instant::now();
    let command = Request { verb, json: false }.to_string();
    let mut last_lines = LastLines::default();
    let command = RemoteCommand {
        command: &command,
        timeout,
        priority,
    };
    let exit = host
        .exec(command, &mut |stream, line| {
            // A picture has no lines; `Control::screenshot` returns it.
            if verb != Verb::Screenshot || stream != OutputStream::Stdout {
                last_lines.push(stream, line);
                sink(stream, line);
            }
        })
        .await;
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    result(verb, exit, &last_lines, duration_ms)
}

/// The lines that decide the result.
#[derive(Debug, Default)]
struct LastLines {
    stdout: String,
    stderr: String,
}

impl LastLines {
    fn push(&mut self, stream: OutputStream, line: &str) {
        let last = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        line.clone_into(last);
    }

    fn verdict(&self) -> Option<Verdict> {
        Verdict::parse(self.stdout.strip_prefix("verdict: ")?)
    }

    /// Whether the gate refused the verb as unknown. It lists what it allows; a shell's refusal looks different.
    fn is_unknown_verb(&self, verb: Verb) -> bool {
        let refusal = self.stderr.strip_prefix("refused: ");
        refusal.is_some_and(|refusal| {
            let allowed = refusal
                .split_once("allowed: ")
                .map_or("", |(_, allowed)| allowed);
            !allowed.split(", ").any(|word| word == verb.as_str())
        })
    }

    fn reason(&self) -> &str {
        match (self.stderr.as_str(), self.stdout.as_str()) {
            ("", "") => "no output",
            ("", line) | (line, _) => line,
        }
    }
}

fn result(
    verb: Verb,
    exit: Result<Option<u32>, SshError>,
    lines: &LastLines,
    duration_ms: u64,
) -> VerbResult {
    let verdict = lines.verdict();
    let (outcome, message) = match &exit {
        Ok(Some(0)) => done(verb, verdict.as_ref(), lines),
        Ok(Some(1)) => (VerbOutcome::Failed, failed(verb, verdict.as_ref(), lines)),
        Ok(Some(2)) => (VerbOutcome::Refused, refused(verb, lines)),
        Ok(other) => (VerbOutcome::Failed, no_gate(*other, lines)),
        Err(error) => (VerbOutcome::Unreachable, unreachable(verb, error)),
    };
    let exit_code = exit.as_ref().ok().copied().flatten();
    VerbResult {
        outcome,
        verdict,
        exit_code: exit_code.and_then(|code| i32::try_from(code).ok()),
        message,
        duration_ms,
        error: exit.err(),
        is_unknown_verb: outcome == VerbOutcome::Refused && lines.is_unknown_verb(verb),
    }
}

fn done(verb: Verb, verdict: Option<&Verdict>, lines: &LastLines) -> (VerbOutcome, String) {
    match verdict {
        Some(verdict) if verb.is_mutating() && !agrees(verb, verdict) => {
            let message = format!(
                "The gate reports {verb} as done, but the evidence shows: {verdict}. Run status, then forensics."
            );
            (VerbOutcome::Failed, message)
        }
        Some(verdict) => (
            VerbOutcome::Done,
            format!("{verb} done; the guest is {verdict}."),
        ),
        None if matches!(verb, Verb::Forensics | Verb::Screenshot) => {
            (VerbOutcome::Done, format!("{verb} done."))
        }
        None => {
            let message = format!(
                "{verb} ended without a verdict, so the last output is not from the gate ({}); check the forced command in the host's authorized_keys, and that nothing else prints there.",
                lines.reason()
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

fn failed(verb: Verb, verdict: Option<&Verdict>, lines: &LastLines) -> String {
    let state = verdict.map_or(String::new(), |verdict| format!(" The guest is {verdict}."));
    format!(
        "{verb} failed on the host: {}.{state} Read its output, then run status.",
        lines.reason()
    )
}

fn refused(verb: Verb, lines: &LastLines) -> String {
    format!(
        "The gate refused {verb}: {}. Nothing was changed.",
        lines.reason()
    )
}

fn no_gate(code: Option<u32>, lines: &LastLines) -> String {
    let exit = code.map_or("no exit code".to_owned(), |code| {
        format!("exit code {code}")
    });
    format!(
        "The command ended with {exit}, which the gate never returns ({}); check that breakglass-gate is installed and is the forced command of this key.",
        lines.reason()
    )
}

fn unreachable(verb: Verb, error: &SshError) -> String {
    let unknown = if error.while_running() && verb.is_mutating() {
        format!(" Whether {verb} took effect is unknown: run status.")
    } else {
        String::new()
    };
    format!("{error}.{unknown}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::error::Stage;
    use crate::target::Endpoint;

    fn outcome(verb: Verb, code: u32, stdout: &str, stderr: &str) -> VerbResult {
        let lines = LastLines {
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        result(verb, Ok(Some(code)), &lines, 7)
    }

    #[test]
    fn outcome_follows_from_exit_code_and_verdict() {
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
            let ended = outcome(verb, code, line, "");
            assert_eq!(
                ended.outcome, expected,
                "{verb} {code} {line:?}: {}",
                ended.message
            );
        }
    }

    #[test]
    fn refusal_repeats_the_verbs_that_the_gate_allows() {
        let ended = outcome(
            Verb::Cycle,
            2,
            "",
            "refused: no. allowed: status, forensics",
        );
        assert!(
            ended.message.contains("allowed: status, forensics"),
            "{}",
            ended.message
        );
        assert_eq!(ended.exit_code, Some(2));
    }

    #[test]
    fn only_a_refusal_of_the_gate_counts_as_an_older_gate() {
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
        for (code, stderr, is_old) in rows {
            let ended = outcome(Verb::Vitals, code, "", stderr);
            assert_eq!(ended.is_unknown_verb, is_old, "{code} {stderr:?}");
        }
    }

    #[test]
    fn output_after_the_gates_own_is_quoted() {
        let ended = outcome(Verb::Status, 0, "Goodbye!", "");
        assert!(ended.message.contains("(Goodbye!)"), "{}", ended.message);
    }

    #[test]
    fn lost_connection_reports_that_the_effect_is_unknown() {
        let endpoint = Endpoint {
            host: "192.0.2.1".into(),
            port: 22,
            user: "root".into(),
        };
        let lost = SshError::Lost {
            endpoint: endpoint.clone(),
            command: "cycle".into(),
        };
        let timed_out = |stage| {
            let after = Duration::from_secs(1);
            SshError::TimedOut {
                endpoint: endpoint.clone(),
                stage,
                after,
            }
        };
        for (error, is_unknown) in [
            (lost, true),
            (timed_out(Stage::Running), true),
            (timed_out(Stage::Connecting), false),
        ] {
            let ended = result(Verb::Cycle, Err(error), &LastLines::default(), 1);
            assert_eq!(ended.outcome, VerbOutcome::Unreachable);
            assert_eq!(
                ended.message.contains("run status"),
                is_unknown,
                "{}",
                ended.message
            );
        }
    }
}
