//! A guest that is dead, dies, or stalls.

use std::process::Output;
use std::time::{Duration, Instant};

use breakglass_log::{Log, Options};
use breakglass_model::{Autonomy, EventBody};
use breakglass_rig::sshd::Sshd;

use super::scene::{Scene, err, out, pid_in};

#[tokio::test(flavor = "multi_thread")]
async fn dead_guest_is_a_clear_error_within_the_timeout_and_is_retried() {
    let mut scene = Scene::start().await;
    assert!(scene.ssh(&["devvm", "uptime"]).await.status.success());
    scene.guest.kill();
    let began = Instant::now();
    let ran = scene.ssh(&["devvm", "uptime"]).await;
    assert_eq!(ran.status.code(), Some(255), "{ran:?}");
    assert!(err(&ran).contains("unreachable"), "{ran:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
    scene.guest.restart();
    let ran = scene.ssh(&["devvm", "echo back"]).await;
    assert_eq!(out(&ran), "back\n", "{ran:?}");
}

/// Does `happens` to the guest while a command runs there. Returns the command's output.
async fn while_it_runs(scene: &Scene, happens: impl FnOnce()) -> Output {
    let file = scene.file("pid");
    let command = format!("echo $$ > {}; exec sleep 300", file.display());
    let args = ["devvm", command.as_str()];
    let (ran, ()) = tokio::join!(scene.ssh(&args), async {
        pid_in(&file).await;
        happens();
    });
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_guest_connection_ends_the_command_with_a_reason() {
    let scene = Scene::start().await;
    let ran = while_it_runs(&scene, || scene.guest.drop_connections()).await;
    assert_eq!(ran.status.code(), Some(255), "{ran:?}");
    assert!(
        err(&ran).contains("broke while the command was running"),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn guest_that_freezes_during_a_command_is_detected() {
    let scene = Scene::start().await;
    let ran = while_it_runs(&scene, || scene.guest.freeze()).await;
    scene.guest.thaw();
    assert_eq!(ran.status.code(), Some(255), "{ran:?}");
    assert!(matches!(
        scene.last_end().await,
        EventBody::CommandFinished {
            message: Some(_),
            ..
        }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn guest_with_one_session_queues_commands_and_stop_does_not_wait() {
    let log = Log::open(Options::in_memory());
    let one = |guest: &mut Sshd| guest.restart_with_sessions(1);
    let scene = Scene::over(Autonomy::Autonomous, log, one).await;
    let all = (0..12).map(|at| {
        let scene = &scene;
        async move { scene.ssh(&["devvm", &format!("sleep 5; echo {at}")]).await }
    });
    let all = futures_util::future::join_all(all).await;
    for (at, ran) in all.iter().enumerate() {
        assert_eq!(out(ran), format!("{at}\n"), "{ran:?}");
    }
    let waited = all
        .iter()
        .filter(|ran| err(ran).contains("allows 1 session at a time"));
    assert!(waited.count() >= 1, "{all:?}");

    // The log has a command before it runs: if the turn ends in between, there is no process.
    let pids = (0..9).map(|at| scene.file(&format!("pid-{at}")));
    let long = pids.clone().map(|pid| {
        let scene = &scene;
        async move {
            let command = format!("echo $$ >{}; exec sleep 300", pid.display());
            scene.ssh(&["devvm", &command]).await
        }
    });
    let (ended, ()) = tokio::join!(futures_util::future::join_all(long), async {
        for pid in pids {
            pid_in(&pid).await;
        }
        scene.post.turn_ended(true).await;
    });
    for ran in ended {
        assert!(
            err(&ran).contains("none of its processes is left"),
            "{ran:?}"
        );
    }
}
