//! A guest that is dead, dies, or stalls.

use std::process::Output;
use std::time::{Duration, Instant};

use breakglass_journal::EventBody;

use crate::scene::{Scene, err, out, pid_in};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_guest_is_a_clear_error_within_its_deadline_and_is_dialled_again() {
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

/// Does this to the guest while a command runs there; gives what became of the command.
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
async fn a_connection_that_breaks_under_a_command_ends_the_agents_shell_with_a_sentence() {
    let scene = Scene::start().await;
    let ran = while_it_runs(&scene, || scene.guest.drop_connections()).await;
    assert_eq!(ran.status.code(), Some(255), "{ran:?}");
    assert!(err(&ran).contains("broke while it ran"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_freezes_under_a_command_is_noticed() {
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
