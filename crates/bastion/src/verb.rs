//! Runs a verb for the agent through the same admission as the button, and sends the gate's output back.

use breakglass_model::{OperationId, OutputStream, VerbOutcome, visible};
use breakglass_verbs::Verb;
use bytes::Bytes;

use crate::channel_request::ChannelRequest;
use crate::client_channel::{ClientChannel, FAILED};
use crate::execution::{EffectSender, Execution};
use crate::recorder::Ended;
use breakglass_control::Refusal;
use breakglass_control::power::Operation;

/// The exit code for the agent's client: the gate's own, or that of OpenSSH's client if the gate was not reached.
const fn exit_code(outcome: Option<VerbOutcome>) -> i32 {
    match outcome {
        Some(VerbOutcome::Done) => 0,
        Some(VerbOutcome::Failed) => 1,
        Some(VerbOutcome::Refused) => 2,
        Some(VerbOutcome::Unreachable | VerbOutcome::Interrupted) | None => FAILED,
    }
}

/// Parses the request as exactly one verb. The error is a refusal that lists the allowed verbs.
pub(crate) fn parse(request: &ChannelRequest) -> Result<Verb, String> {
    let asked = match request {
        ChannelRequest::Exec(text) => match std::str::from_utf8(text).ok().and_then(Verb::parse) {
            Some(verb) => return Ok(verb),
            None => {
                let text: String = String::from_utf8_lossy(text).chars().take(120).collect();
                format!("{:?} is not a verb", visible(&text))
            }
        },
        ChannelRequest::Shell => "there is no shell".to_owned(),
        ChannelRequest::Subsystem(_) => "there are no subsystems".to_owned(),
    };
    Err(format!(
        "refused: {asked}, and nothing was run. allowed: {}",
        Verb::allowed()
    ))
}

/// Runs `verb`, or follows an operation that is already running the same verb.
pub(crate) async fn run(execution: &Execution<'_>, verb: Verb, effect: EffectSender) -> Ended {
    let submitted = execution
        .session
        .target
        .submit(verb, execution.session.incident)
        .await;
    if let Some(effect) = effect {
        let _decider_is_gone = effect.send(());
    }
    let operation = match submitted {
        Ok(accepted) => accepted.operation,
        Err(Refusal::Busy {
            operation,
            verb: running,
            ..
        }) if running == verb => {
            let attached = format!("{verb} is running already; this is its output");
            execution.client.message(&attached).await;
            operation
        }
        Err(refusal) => return Ended::because(2, refusal.to_string()),
    };
    follow(execution, verb, operation).await
}

async fn follow(execution: &Execution<'_>, verb: Verb, operation: OperationId) -> Ended {
    let Some(operation) = execution.session.target.operation(operation) else {
        return Ended::because(FAILED, format!("{verb} has ended; run status"));
    };
    tokio::select! {
        ended = listen(&operation, execution.client) => ended,
        () = execution.admitted.token.cancelled() => continues(verb),
        () = execution.client.closed.cancelled() => continues(verb),
    }
}

fn continues(verb: Verb) -> Ended {
    Ended::because(
        FAILED,
        format!("{verb} continues: a verb that was started is not interrupted"),
    )
}

async fn listen(operation: &Operation, client: &ClientChannel) -> Ended {
    let mut seen = 0;
    loop {
        let has_ended = operation.more_output(seen).await;
        let (total, lines) = operation.lines_since(seen);
        let missed = total - seen - lines.len() as u64;
        seen = total;
        if missed > 0 {
            client
                .message(&format!(
                    "{missed} lines were printed too fast and are missing here"
                ))
                .await;
        }
        for line in lines {
            let text = Bytes::from(format!("{}\n", line.line));
            let _ = match line.stream {
                OutputStream::Stdout => client.out(text).await,
                OutputStream::Stderr => client.err(text).await,
            };
        }
        if has_ended {
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
    fn only_an_exact_verb_is_accepted() {
        assert_eq!(
            parse(&ChannelRequest::Exec(b"cycle".to_vec())),
            Ok(Verb::Cycle)
        );
        for other in [
            "status; id",
            " status",
            "status\n",
            "",
            "stat\u{202e}us",
            "id",
        ] {
            let refusal = parse(&ChannelRequest::Exec(other.into())).unwrap_err();
            assert!(refusal.contains("allowed: status, "), "{refusal}");
        }
        assert!(parse(&ChannelRequest::Shell).is_err());
        assert!(parse(&ChannelRequest::Subsystem("sftp".into())).is_err());
    }
}
