//! The power path, whole: control, real sshd, real gate, a stand-in for `qm`.

use std::time::{Duration, Instant};

use crate::common::{Bench, LIMIT, operator, until};
use breakglass_control::{
    CloseRefusal, IdempotencyKey, NoPicture, OperationRequest, OperationView, Refusal,
};
use breakglass_log::{Log, Options};
use breakglass_model::{Actor, EventBody, IncidentId, OutputStream, VerbOutcome};
use breakglass_rig::gate::GateHost;
use breakglass_verbs::Verb;
use futures_util::FutureExt as _;

#[tokio::test]
async fn status_reports_the_verdict_and_changes_nothing() {
    let bench = Bench::running();
    let before = bench.host.qemu();
    let view = bench.verb(Verb::Status).await;
    assert_eq!(view.outcome, Some(VerbOutcome::Done), "{view:?}");
    assert_eq!(view.verdict.as_deref(), Some("running"));
    assert_eq!(bench.host.qemu(), before);
}

#[tokio::test]
async fn cycle_takes_forensics_first_and_gives_a_fresh_process() {
    let bench = Bench::running();
    let before = bench.host.qemu();
    let view = bench.verb(Verb::Cycle).await;
    assert_eq!(view.outcome, Some(VerbOutcome::Done), "{view:?}");
    assert_eq!(view.verdict.as_deref(), Some("running"));
    assert_ne!(bench.host.qemu(), before);
    let calls = bench.host.calls();
    let first = |verb: &str| calls.iter().position(|call| call.starts_with(verb));
    assert!(
        first("status") < first("stop") && first("stop") < first("start"),
        "{calls:?}"
    );
}

#[tokio::test]
async fn forensics_stream_their_lines_into_the_incident() {
    let bench = Bench::running();
    let view = bench.verb(Verb::Forensics).await;
    assert_eq!(view.outcome, Some(VerbOutcome::Done), "{view:?}");
    let events = bench.events(view.incident.unwrap()).await;
    let kinds: Vec<&str> = events.iter().map(|event| event.body.kind()).collect();
    assert_eq!(kinds[..2], ["incident_opened", "verb_started"]);
    assert_eq!(kinds.last(), Some(&"verb_finished"));
    let lines: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::VerbOutput {
                stream: OutputStream::Stdout,
                line,
                ..
            } => Some(line.clone()),
            _ => None,
        })
        .collect();
    assert!(lines.len() > 3, "{lines:?}");
    assert!(view.lines.len() >= lines.len());
    assert_eq!(events[1].actor, operator());
}

#[tokio::test]
async fn stopped_guest_is_started_and_a_failing_tool_is_a_failure() {
    let bench = Bench::with(GateHost::stopped);
    assert_eq!(
        bench.verb(Verb::Start).await.outcome,
        Some(VerbOutcome::Done)
    );
    bench.host.set(
        "fail-stop",
        "can't lock file '/var/lock/qemu-server/lock-102.conf' - got timeout\n",
    );
    let view = bench.verb(Verb::Stop).await;
    assert_eq!(view.outcome, Some(VerbOutcome::Failed), "{view:?}");
    assert!(
        view.message
            .unwrap()
            .starts_with("stop failed on the host: ")
    );
}

#[tokio::test]
async fn of_two_concurrent_verbs_one_runs_and_the_other_is_refused_as_busy() {
    let bench = Bench::running();
    let press = |name: &str, verb| {
        let permit = bench
            .control
            .permit(&Actor::Operator(name.into()), "devvm", verb)
            .unwrap();
        bench.control.submit(OperationRequest::new(permit))
    };
    let (one, other) = tokio::join!(press("ada", Verb::Cycle), press("bob", Verb::Stop));
    let running = one.unwrap().operation;
    match other {
        Err(Refusal::Busy {
            operation,
            verb,
            target,
            ..
        }) => {
            assert_eq!(
                (operation, verb, target.as_str()),
                (running, Verb::Cycle, "devvm")
            );
        }
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(
        bench.control.running("devvm").map(|view| view.operation),
        Some(running)
    );
    assert_eq!(bench.ended(running).await.outcome, Some(VerbOutcome::Done));
    assert_eq!(bench.control.running("devvm"), None);
    assert_eq!(bench.host.count("stop"), 1, "{:?}", bench.host.calls());
}

#[tokio::test]
async fn status_answers_while_a_mutating_verb_hangs() {
    let bench = Bench::running();
    bench.host.set("hang-stop", "");
    let cycle = bench.begin(Verb::Cycle).await;
    until("the gate calls stop", || {
        (bench.host.count("stop") > 0).then_some(())
    })
    .await;
    let view = bench.verb(Verb::Status).await;
    assert_eq!(view.outcome, Some(VerbOutcome::Done), "{view:?}");
    assert_eq!(
        bench.control.operation(cycle.operation).unwrap().outcome,
        None
    );
}

#[tokio::test]
async fn same_key_runs_once_and_another_request_under_it_is_refused() {
    let bench = Bench::running();
    let press = |verb, key: &str| {
        bench.control.submit(OperationRequest {
            key: Some(IdempotencyKey::new(key).unwrap()),
            ..bench.request(verb)
        })
    };
    let (one, other) = tokio::join!(press(Verb::Cycle, "k1"), press(Verb::Cycle, "k1"));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.replayed, other.replayed), (false, true));
    assert_eq!(
        (one.operation, one.incident),
        (other.operation, other.incident)
    );
    bench.ended(one.operation).await;
    let later = press(Verb::Cycle, "k1").await.unwrap();
    assert_eq!((later.operation, later.replayed), (one.operation, true));
    let reused = press(Verb::Stop, "k1").await;
    assert!(
        matches!(reused, Err(Refusal::KeyReused { .. })),
        "{reused:?}"
    );
    assert_eq!(bench.host.count("stop"), 1, "{:?}", bench.host.calls());
}

#[tokio::test]
async fn key_is_honoured_after_a_server_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("record.db");
    let request = |bench: &Bench, verb| OperationRequest {
        key: Some(IdempotencyKey::new("k1").unwrap()),
        ..bench.request(verb)
    };
    let first = {
        let bench = Bench::over(GateHost::running, Log::open(Options::at(&file)));
        let accepted = bench
            .control
            .submit(request(&bench, Verb::Cycle))
            .await
            .unwrap();
        bench.ended(accepted.operation).await;
        bench.log.shutdown();
        accepted.operation
    };
    let bench = Bench::over(GateHost::running, Log::open(Options::at(&file)));
    let press = |verb| bench.control.submit(request(&bench, verb));
    let replayed = press(Verb::Cycle).await.unwrap();
    assert_eq!((replayed.operation, replayed.replayed), (first, true));
    let reused = press(Verb::Stop).await;
    assert!(
        matches!(reused, Err(Refusal::KeyReused { .. })),
        "{reused:?}"
    );
    assert_eq!(bench.host.count("stop"), 0);
}

#[tokio::test]
async fn verb_continues_after_its_caller_disconnects() {
    let bench = Bench::running();
    let submit = bench.control.submit(bench.request(Verb::Cycle));
    // Polled once, then dropped, as by a client that hung up.
    assert!(submit.now_or_never().is_none());
    let running = until("the verb runs", || bench.control.running("devvm")).await;
    assert_eq!(
        bench.ended(running.operation).await.outcome,
        Some(VerbOutcome::Done)
    );
}

#[tokio::test]
async fn incident_is_not_closed_while_a_verb_is_recorded_in_it() {
    let bench = Bench::running();
    bench.host.set("held-stop", "");
    let accepted = bench.begin(Verb::Cycle).await;
    let incident = accepted.incident.unwrap();
    let refused = bench.control.close("devvm", incident, &operator()).await;
    let Err(CloseRefusal::Busy { operation, what }) = refused else {
        panic!("closed under a running verb")
    };
    assert_eq!((operation, what.as_str()), (accepted.operation, "cycle"));
    bench.host.unset("held-stop");
    bench.ended(operation).await;
    until_closed(&bench, incident).await;
    let kinds: Vec<_> = bench.events(incident).await;
    let kinds: Vec<_> = kinds.iter().rev().map(|event| event.body.kind()).collect();
    assert_eq!(&kinds[..2], ["incident_closed", "verb_finished"]);
}

/// Closes as soon as nothing writes into it any more.
async fn until_closed(bench: &Bench, incident: IncidentId) {
    let end = Instant::now() + LIMIT;
    while let Err(refusal) = bench.control.close("devvm", incident, &operator()).await {
        assert!(Instant::now() < end, "{refusal}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn verb_for_a_closed_incident_is_recorded_in_another() {
    let bench = Bench::running();
    let first = bench.verb(Verb::Status).await.incident.unwrap();
    until_closed(&bench, first).await;
    let accepted = bench
        .control
        .submit(OperationRequest {
            incident: Some(first),
            ..bench.request(Verb::Status)
        })
        .await
        .unwrap();
    let second = accepted.incident.unwrap();
    assert_ne!(second, first);
    assert_eq!(bench.ended(accepted.operation).await.incident, Some(second));
}

#[tokio::test]
async fn unreachable_host_is_named_in_the_result() {
    let mut bench = Bench::running();
    bench.host.sshd.kill();
    let view = bench.verb(Verb::Status).await;
    assert_eq!(view.outcome, Some(VerbOutcome::Unreachable), "{view:?}");
    let message = view.message.unwrap();
    assert!(
        message.contains("127.0.0.1") && message.contains("unreachable"),
        "{message}"
    );
}

#[tokio::test]
async fn changed_host_key_prevents_the_verb_and_is_recorded() {
    let mut bench = Bench::running();
    let first = bench.verb(Verb::Status).await;
    bench.host.sshd.restart_with_another_key();
    let view = bench.verb(Verb::Cycle).await;
    assert_eq!(view.outcome, Some(VerbOutcome::Unreachable), "{view:?}");
    let changed = |body: &EventBody| matches!(body, EventBody::HostKeyChanged { .. });
    let event = bench.event(first.incident.unwrap(), changed).await;
    let EventBody::HostKeyChanged { pinned, shown, .. } = event.body else {
        unreachable!()
    };
    assert_ne!(pinned, shown);
    assert!(shown.starts_with("SHA256:"), "{shown}");
    assert_eq!(bench.host.count("stop"), 0);
}

#[tokio::test]
async fn gate_refuses_lines_that_are_not_verbs() {
    let bench = Bench::running();
    for line in [
        "cycle; id",
        "destroy",
        "stop 103",
        "status --json --json",
        "",
    ] {
        let output = std::process::Command::new("ssh")
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args(["-o", "BatchMode=yes", "-F", "none", "-i"])
            .arg(key_file(&bench))
            .args(["-p", &bench.host.sshd.port.to_string(), "127.0.0.1", line])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("apt-get install openssh-client");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line:?}: {said}");
        assert!(said.contains("status, forensics"), "{line:?}: {said}");
    }
    assert_eq!(bench.host.count("stop"), 0);
}

#[tokio::test]
async fn unknown_target_is_refused_with_the_known_names() {
    let bench = Bench::running();
    let refused = bench
        .control
        .permit(&operator(), "devvm2", Verb::Status)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "there is no target \"devvm2\"; the targets are: devvm"
    );
}

#[tokio::test]
async fn verbs_run_without_a_log() {
    let dir = tempfile::tempdir().unwrap();
    // A directory where the file should be: the store can't be opened.
    let bench = Bench::over(GateHost::running, Log::open(Options::at(dir.path())));
    assert!(bench.log.degraded().is_some());
    assert_eq!(
        bench.verb(Verb::Cycle).await.outcome,
        Some(VerbOutcome::Done)
    );
}

#[tokio::test]
async fn verbs_run_after_the_log_has_shut_down() {
    let bench = Bench::running();
    bench.log.shutdown();
    let view = bench.verb(Verb::Cycle).await;
    assert_eq!(
        (view.outcome, view.incident),
        (Some(VerbOutcome::Done), None)
    );
}

#[tokio::test]
async fn shutdown_starts_nothing_new_and_waits_for_running_verbs() {
    let bench = Bench::running();
    let accepted = bench.begin(Verb::Cycle).await;
    bench.cancel.cancel();
    let refused = bench.control.submit(bench.request(Verb::Cycle)).await;
    assert_eq!(refused, Err(Refusal::ShuttingDown));
    assert_eq!(bench.control.drain(LIMIT).await, 0);
    let view = bench.control.operation(accepted.operation).unwrap();
    assert_eq!(view.outcome, Some(VerbOutcome::Done));
}

#[tokio::test]
async fn direct_verb_needs_no_server_and_no_log() {
    let bench = Bench::running();
    let target = bench.control.targets().next().unwrap().clone();
    let mut lines = Vec::new();
    let options = bench.keys.options();
    let ended = breakglass_control::power::direct(&target, &options, Verb::Status, |_, line| {
        lines.push(line.to_owned());
    })
    .await;
    assert_eq!(ended.outcome, VerbOutcome::Done, "{ended:?}");
    assert_eq!(lines.last().map(String::as_str), Some("verdict: running"));
}

/// The bench's key as a file, for the stock client.
fn key_file(bench: &Bench) -> std::path::PathBuf {
    let path = bench.keys.dir.path().join("key");
    if !path.exists() {
        breakglass_control::ssh::write_key(&bench.keys.key, &path).unwrap();
    }
    path
}

#[tokio::test]
async fn screenshot_returns_the_unchanged_png() {
    let bench = Bench::running();
    let picture = bench.control.screenshot("devvm").await.unwrap();
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(picture.ends_with(b"IEND\xae\x42\x60\x82"));
    let unknown = bench.control.screenshot("nosuch").await.unwrap_err();
    assert_eq!(unknown, NoPicture::UnknownTarget("nosuch".to_owned()));
    bench.host.amend_policy("ask_seconds = 3\n");
    bench.host.set("monitor-hangs", "");
    let none = bench.control.screenshot("devvm").await.unwrap_err();
    assert!(none.to_string().contains("no answer within 3 s"), "{none}");
}

#[tokio::test]
async fn gate_measures_the_machine() {
    let bench = Bench::running();
    let measured = || bench.control.vitals("devvm")?.machine;
    let machine = until("the machine is measured", measured).await;
    assert_eq!(machine.run_state.as_deref(), Some("running"));
    assert!(machine.writes_per_s.is_some(), "{machine:?}");
}

/// Whether the log of `view` states that a picture from before is stored.
async fn has_picture(bench: &Bench, view: &OperationView) -> bool {
    let finished = |body: &EventBody| matches!(body, EventBody::VerbFinished { .. });
    match bench.event(view.incident.unwrap(), finished).await.body {
        EventBody::VerbFinished { picture, .. } => picture,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn screen_before_a_cycle_is_stored_under_its_operation() {
    let bench = Bench::running();
    let now = bench.control.screenshot("devvm").await.unwrap();
    let view = bench.verb(Verb::Cycle).await;
    assert!(has_picture(&bench, &view).await);
    let kept = bench.control.picture(view.operation).await.unwrap();
    assert_eq!(kept, Some(now));
}

#[tokio::test]
async fn read_only_verbs_store_no_picture_but_forensics_do() {
    let bench = Bench::running();
    let status = bench.verb(Verb::Status).await;
    assert!(!has_picture(&bench, &status).await);
    let kept = bench.control.picture(status.operation).await.unwrap();
    assert_eq!(kept, None);
    let forensics = bench.verb(Verb::Forensics).await;
    let kept = bench.control.picture(forensics.operation).await.unwrap();
    assert!(kept.is_some());
}

#[tokio::test]
async fn stopped_guest_without_a_picture_is_started_anyway() {
    let bench = Bench::with(GateHost::stopped);
    let view = bench.verb(Verb::Start).await;
    assert_eq!(view.outcome, Some(VerbOutcome::Done), "{view:?}");
    assert!(!has_picture(&bench, &view).await);
}

#[tokio::test]
async fn missing_picture_delays_its_verb_by_two_seconds_at_most() {
    let bench = Bench::running();
    // The picture alone would take a minute, all the rest of the verb a few seconds.
    bench
        .host
        .amend_policy("ask_seconds = 60\nforensics_seconds = 3\n");
    bench.host.set("monitor-hangs", "");
    let begun = Instant::now();
    let view = bench.verb(Verb::Forensics).await;
    let own = Duration::from_millis(view.duration_ms.unwrap());
    assert!(view.outcome.is_some() && !has_picture(&bench, &view).await);
    // What is beyond two seconds is for the log and a machine that others use.
    let held_up = begun.elapsed().saturating_sub(own);
    assert!(held_up < Duration::from_secs(30), "{held_up:?}");
}
