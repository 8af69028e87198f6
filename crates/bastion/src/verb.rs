//! A verb of the agent: enters the same queue as the button, and what the gate says comes back.

use breakglass_model::{OperationId, OutputStream, VerbOutcome, visible};
use breakglass_verbs::Verb;
use bytes::Bytes;

use crate::caller::{Caller, FAILED};
use crate::errand::Errand;
use crate::recorder::Ended;
use crate::work::{Taken, Work};
use breakglass_control::Refusal;
use breakglass_control::power::Operation;

/// What the gate exits with, by outcome; what stock `ssh` exits with where it was not reached.
const fn exit_code(outcome: Option<VerbOutcome>) -> i32 {
    match outcome {
        Some(VerbOutcome::Done) => 0,
        Some(VerbOutcome::Failed) => 1,
        Some(VerbOutcome::Refused) => 2,
        Some(VerbOutcome::Unreachable | VerbOutcome::Interrupted) | None => FAILED,
    }
}

/// The verb that `errand` is, whole, or a refusal that says what is allowed.
pub(crate) fn parse(errand: &Errand) -> Result<Verb, String> {
    let asked = match errand {
        Errand::Exec(text) => match std::str::from_utf8(text).ok().and_then(Verb::parse) {
            Some(verb) => return Ok(verb),
            None => {
                let text: String = String::from_utf8_lossy(text).chars().take(120).collect();
                format!("{:?} is no verb", visible(&text))
            }
        },
        Errand::Shell => "there is no shell".to_owned(),
        Errand::Subsystem(_) => "there are no subsystems".to_owned(),
    };
    Err(format!(
        "refused: {asked}, and nothing was run. allowed: {}",
        Verb::allowed()
    ))
}

/// Runs `verb`, or attaches to the run of the same verb that is on its way.
pub(crate) async fn run(work: &Work<'_>, verb: Verb, taken: Taken) -> Ended {
    let submitted = work.seat.target.submit(verb, work.seat.incident).await;
    if let Some(taken) = taken {
        let _decider_left = taken.send(());
    }
    let operation = match submitted {
        Ok(accepted) => accepted.operation,
        Err(Refusal::Busy {
            operation,
            verb: running,
            ..
        }) if running == verb => {
            let attached = format!("{verb} is running already; this is what it says");
            work.caller.say(&attached).await;
            operation
        }
        Err(refusal) => return Ended::because(2, refusal.to_string()),
    };
    follow(work, verb, operation).await
}

async fn follow(work: &Work<'_>, verb: Verb, operation: OperationId) -> Ended {
    let Some(operation) = work.seat.target.operation(operation) else {
        return Ended::because(FAILED, format!("{verb} has ended; ask status"));
    };
    tokio::select! {
        ended = listen(&operation, work.caller) => ended,
        () = work.admitted.token.cancelled() => goes_on(verb),
        () = work.caller.gone.cancelled() => goes_on(verb),
    }
}

fn goes_on(verb: Verb) -> Ended {
    Ended::because(
        FAILED,
        format!("{verb} goes on: a verb that was begun is not cut off half-way"),
    )
}

async fn listen(operation: &Operation, caller: &Caller) -> Ended {
    let mut seen = 0;
    loop {
        let over = operation.grew(seen).await;
        let (total, lines) = operation.lines_since(seen);
        let missed = total - seen - lines.len() as u64;
        seen = total;
        if missed > 0 {
            caller.say(&format!("{missed} lines were too fast")).await;
        }
        for line in lines {
            let text = Bytes::from(format!("{}\n", line.line));
            let _ = match line.stream {
                OutputStream::Stdout => caller.out(text).await,
                OutputStream::Stderr => caller.err(text).await,
            };
        }
        if over {
            break;
        }
    }
    let view = operation.view();
    let done = view.outcome == Some(VerbOutcome::Done);
    Ended {
        exit_code: Some(exit_code(view.outcome)),
        signal: None,
        message: view.message.filter(|_| !done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_whole_verb_is_one() {
        assert_eq!(parse(&Errand::Exec(b"cycle".to_vec())), Ok(Verb::Cycle));
        for other in [
            "status; id",
            " status",
            "status\n",
            "",
            "stat\u{202e}us",
            "id",
        ] {
            let refusal = parse(&Errand::Exec(other.into())).unwrap_err();
            assert!(refusal.contains("allowed: status, "), "{refusal}");
        }
        assert!(parse(&Errand::Shell).is_err());
        assert!(parse(&Errand::Subsystem("sftp".into())).is_err());
    }
}
