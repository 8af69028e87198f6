//! The agent's autonomy, and the operator's answers to its questions.

use breakglass_bastion::DecideError;
use breakglass_model::{Actor, Autonomy, Decision, EventBody};

use super::scene::{Scene, ana, err, out};

#[tokio::test(flavor = "multi_thread")]
async fn read_only_commands_run_and_others_are_asked_about_in_full() {
    let scene = Scene::with(Autonomy::ApproveMutations).await;
    let read = scene.ssh(&["devvm", "uptime"]).await;
    assert!(read.status.success(), "{read:?}");
    let long = format!("echo allowed # {}", "x".repeat(5_000));
    let args = ["devvm", long.as_str()];
    let (ran, ()) = tokio::join!(scene.ssh(&args), scene.answer(&long, Decision::Allow, None));
    assert_eq!(out(&ran), "allowed\n");
    let decided = scene
        .event(|body| matches!(body, EventBody::ApprovalDecided { .. }))
        .await;
    assert_eq!(decided.actor, ana());
}

#[tokio::test(flavor = "multi_thread")]
async fn denial_reaches_the_agent_with_its_reason_and_nothing_runs() {
    let scene = Scene::with(Autonomy::ApproveMutations).await;
    let sentinel = scene.file("ran");
    let command = format!("touch {}", sentinel.display());
    let args = ["devvm", command.as_str()];
    let deny = scene.answer(&command, Decision::Deny, Some("ask the owner first"));
    let (ran, ()) = tokio::join!(scene.ssh(&args), deny);
    assert_eq!(ran.status.code(), Some(126), "{ran:?}");
    assert!(err(&ran).contains("ask the owner first"), "{ran:?}");
    assert!(!sentinel.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_questions_are_answered_separately() {
    let scene = Scene::with(Autonomy::ApproveMutations).await;
    let (a, b) = (["devvm", "echo a >&1"], ["devvm", "echo b >&1"]);
    let answers = async {
        scene.answer("echo b >&1", Decision::Allow, None).await;
        scene.answer("echo a >&1", Decision::Deny, None).await;
    };
    let (one, two, ()) = tokio::join!(scene.ssh(&a), scene.ssh(&b), answers);
    assert_eq!((out(&one), out(&two)), (String::new(), "b\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_takes_effect_once() {
    let scene = Scene::with(Autonomy::ApproveMutations).await;
    let args = ["devvm", "echo once >&1"];
    let (ran, ()) = tokio::join!(
        scene.ssh(&args),
        scene.answer("echo once >&1", Decision::Allow, None)
    );
    assert!(ran.status.success());
    let asked = scene
        .event(|body| matches!(body, EventBody::ApprovalRequested { .. }))
        .await;
    let EventBody::ApprovalRequested { approval, .. } = asked.body else {
        unreachable!()
    };
    let again = scene
        .bastion
        .decide(scene.incident, &approval, (Decision::Deny, None), ana())
        .await;
    assert_eq!(again, Err(DecideError::Settled("allowed".to_owned())));
    let other = scene
        .bastion
        .decide(scene.incident, "no-such", (Decision::Allow, None), ana())
        .await;
    assert_eq!(other, Err(DecideError::Unknown("no-such".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn question_is_void_after_its_turn_and_nothing_runs() {
    let scene = Scene::with(Autonomy::ApproveMutations).await;
    let sentinel = scene.file("ran");
    let command = format!("touch {}", sentinel.display());
    let args = ["devvm", command.as_str()];
    let (ran, ()) = tokio::join!(scene.ssh(&args), async {
        scene
            .event(|body| matches!(body, EventBody::ApprovalRequested { .. }))
            .await;
        scene.post.turn_ended(false).await;
    });
    assert!(!ran.status.success() && !sentinel.exists());
    let decided = scene
        .event(|body| matches!(body, EventBody::ApprovalDecided { .. }))
        .await;
    assert_eq!(decided.actor, Actor::System);
    assert!(matches!(
        decided.body,
        EventBody::ApprovalDecided {
            decision: Decision::Void,
            ..
        }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn mutating_verb_waits_for_approval_and_reading_verb_does_not() {
    let scene = Scene::with(Autonomy::ApproveMutations).await;
    assert!(scene.ssh(&["pve", "status"]).await.status.success());
    let (ran, ()) = tokio::join!(
        scene.ssh(&["pve", "reset"]),
        scene.answer("reset", Decision::Deny, None)
    );
    assert_eq!(ran.status.code(), Some(126), "{ran:?}");
    let all = scene.events().await;
    let reset = |body: &EventBody| matches!(body, EventBody::VerbStarted { verb, .. } if verb.as_str() == "reset");
    assert!(!all.iter().any(|event| reset(&event.body)));
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_agent_gets_no_change_no_shell_and_no_file_transfer() {
    let scene = Scene::with(Autonomy::ReadOnly).await;
    assert!(scene.ssh(&["devvm", "uptime"]).await.status.success());
    for arguments in [
        &["devvm", "touch /tmp/x"][..],
        &["-T", "devvm"],
        &["-s", "devvm", "sftp"],
        &["-tt", "devvm", "uptime"],
        &["pve", "cycle"],
    ] {
        let ran = scene.ssh(arguments).await;
        assert_eq!(ran.status.code(), Some(126), "{arguments:?} {ran:?}");
        assert!(err(&ran).contains("may only read"), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn autonomy_can_change_during_a_turn_and_is_restored_from_the_log() {
    let scene = Scene::start().await;
    let set = scene
        .bastion
        .set_autonomy(scene.incident, "devvm", Autonomy::ReadOnly, ana());
    set.await.unwrap();
    assert_eq!(
        scene.ssh(&["devvm", "touch /tmp/x"]).await.status.code(),
        Some(126)
    );
    let changed = scene
        .event(|body| {
            matches!(
                body,
                EventBody::AutonomyChanged {
                    autonomy: Autonomy::ReadOnly
                }
            )
        })
        .await;
    assert_eq!(changed.actor, ana());
}
