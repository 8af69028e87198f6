//! Stop and cut-off: the agent's processes on the guest are gone, and that is proven.

use breakglass_model::EventBody;
use tokio::time::timeout;

use super::scene::{LIMIT, Scene, ana, err, lives, pid_in};

/// A command that writes its process id to `file` and does not end.
fn endless(scene: &Scene, name: &str, script: &str) -> (std::path::PathBuf, String) {
    let file = scene.file(name);
    let command = script.replace("PID", &format!("echo $$ > {}", file.display()));
    (file, command)
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_the_command_on_the_guest_with_all_its_children() {
    let scene = Scene::start().await;
    let script = "PID; trap '' TERM HUP; (env -i sleep 300) & sleep 300; sleep 300";
    let (file, command) = endless(&scene, "pid", script);
    let args = ["devvm", command.as_str()];
    let (ran, pid) = tokio::join!(scene.ssh(&args), async {
        let pid = pid_in(&file).await;
        scene.post.turn_is_ending();
        scene.post.turn_ended(true).await;
        pid
    });
    assert!(!ran.status.success());
    assert!(!lives(pid));
    let message = scene.last_message().await;
    assert!(
        message.contains("none of its processes is left on devvm"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_a_command_on_a_guest_whose_sshd_accepts_no_variable() {
    let scene = Scene::over(
        breakglass_model::Autonomy::Autonomous,
        breakglass_log::Log::open(breakglass_log::Options::in_memory()),
        |sshd| sshd.restart_without_variables(),
    )
    .await;
    let (file, command) = endless(&scene, "pid", "PID; exec sleep 300");
    let args = ["devvm", command.as_str()];
    let (_, pid) = tokio::join!(scene.ssh(&args), async {
        let pid = pid_in(&file).await;
        scene.post.turn_ended(true).await;
        pid
    });
    assert!(!lives(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_commands_whose_client_disconnected_earlier() {
    let scene = Scene::start().await;
    let (file, command) = endless(&scene, "pid", "PID; trap '' PIPE HUP; sleep 300");
    let mut client = scene
        .client("ssh")
        .args(["devvm", &command])
        .spawn()
        .unwrap();
    let pid = pid_in(&file).await;
    client.kill().await.unwrap();
    scene
        .event(|body| matches!(body, EventBody::CommandFinished { .. }))
        .await;
    assert!(lives(pid), "as with stock ssh, it runs on");
    scene.post.turn_ended(true).await;
    assert!(!lives(pid));
    let finished = scene
        .event(
            |body| matches!(body, EventBody::Notice { code, .. } if code == "left_commands_ended"),
        )
        .await;
    assert!(finished.seq > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_outside_a_turn_are_refused() {
    let scene = Scene::start().await;
    scene.post.turn_ended(false).await;
    let ran = scene.ssh(&["devvm", "uptime"]).await;
    assert_eq!(ran.status.code(), Some(126), "{ran:?}");
    assert!(err(&ran).contains("no turn is running"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_ends_commands_and_blocks_guest_and_host_until_lifted() {
    let scene = Scene::start().await;
    let (file, command) = endless(&scene, "pid", "PID; exec sleep 300");
    let args = ["devvm", command.as_str()];
    let (ran, pid) = tokio::join!(scene.ssh(&args), async {
        let pid = pid_in(&file).await;
        let cut = scene
            .bastion
            .set_cut_off(scene.incident, "devvm", true, ana());
        timeout(LIMIT, cut).await.unwrap().unwrap();
        pid
    });
    assert!(err(&ran).contains("cut the agent off"), "{ran:?}");
    assert!(!lives(pid));
    for arguments in [["devvm", "uptime"], ["pve", "status"]] {
        let ran = scene.ssh(&arguments).await;
        assert_eq!(ran.status.code(), Some(126), "{ran:?}");
    }
    let lift = scene
        .bastion
        .set_cut_off(scene.incident, "devvm", false, ana());
    lift.await.unwrap();
    assert!(scene.ssh(&["devvm", "uptime"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_on_an_unreachable_guest_reports_an_unknown_result() {
    let mut scene = Scene::start().await;
    let (file, command) = endless(&scene, "pid", "PID; exec sleep 300");
    let mut client = scene
        .client("ssh")
        .args(["devvm", &command])
        .spawn()
        .unwrap();
    pid_in(&file).await;
    scene.guest.freeze();
    timeout(LIMIT, scene.post.turn_ended(true))
        .await
        .expect("Stop has an end");
    client.kill().await.unwrap();
    // Stop does not wait longer than its own timeout.
    scene
        .event(|body| matches!(body, EventBody::CommandFinished { .. }))
        .await;
    let message = scene.last_message().await;
    assert!(
        message.contains("unknown") || message.contains("may still be running"),
        "{message}"
    );
    scene.guest.thaw();
    scene.guest.kill();
}
