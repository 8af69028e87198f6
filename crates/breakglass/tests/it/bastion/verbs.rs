//! `ssh pve VERB` is admitted like a verb from the page.

use super::scene::{Scene, err, out};
use breakglass_model::{Actor, EventBody};

#[tokio::test(flavor = "multi_thread")]
async fn verb_of_the_agent_is_an_operation_and_its_output_comes_back() {
    let scene = Scene::start().await;
    let before = scene.host.qemu();
    let ran = scene.ssh(&["pve", "cycle"]).await;
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert!(out(&ran).ends_with("verdict: running\n"), "{ran:?}");
    assert_ne!(scene.host.qemu(), before);
    let started = scene
        .event(|body| matches!(body, EventBody::VerbStarted { .. }))
        .await;
    assert_eq!(started.actor, Actor::Agent);
    let lines = scene.events().await;
    let printed =
        |event: &&breakglass_model::Event| matches!(event.body, EventBody::CommandOutput { .. });
    assert_eq!(
        lines.iter().filter(printed).count(),
        0,
        "the verb's own events hold its output"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_but_a_verb_is_refused_with_the_allowed_verbs_and_recorded() {
    let scene = Scene::start().await;
    for arguments in [
        &["pve", "status; id"][..],
        &["pve", "sh"],
        &["pve"],
        &["-s", "pve", "sftp"],
    ] {
        let ran = scene.ssh(arguments).await;
        assert_eq!(ran.status.code(), Some(2), "{arguments:?} {ran:?}");
        assert!(err(&ran).contains("allowed: status, forensics"), "{ran:?}");
    }
    let all = scene.events().await;
    let recorded = all
        .iter()
        .filter(|event| matches!(event.body, EventBody::CommandStarted { .. }));
    assert_eq!(recorded.count(), 4);
    assert!(
        !all.iter()
            .any(|event| matches!(event.body, EventBody::VerbStarted { .. }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn same_verb_twice_is_one_operation_and_another_verb_is_refused() {
    let scene = Scene::start().await;
    scene.host.set("held-stop", "");
    let command = |body: &EventBody| matches!(body, EventBody::CommandStarted { .. });
    let (one, two, stop) = tokio::join!(
        scene.ssh(&["pve", "cycle"]),
        scene.ssh(&["pve", "cycle"]),
        async {
            let first = scene.event(command).await;
            scene.event_after(first.seq, command).await;
            scene
                .event(|body| matches!(body, EventBody::VerbStarted { .. }))
                .await;
            let stop = scene.ssh(&["pve", "stop"]).await;
            scene.host.unset("held-stop");
            stop
        }
    );
    assert_eq!(
        (one.status.code(), two.status.code()),
        (Some(0), Some(0)),
        "{one:?} {two:?}"
    );
    let all = scene.events().await;
    let runs = all
        .iter()
        .filter(|event| matches!(event.body, EventBody::VerbStarted { .. }));
    assert_eq!(runs.count(), 1);
    assert_eq!(stop.status.code(), Some(2), "{stop:?}");
    assert!(err(&stop).contains("cycle has been running"), "{stop:?}");
}
