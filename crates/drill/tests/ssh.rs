//! The simulated target as the stock OpenSSH client meets it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: there a panic is the report"
)]

mod common;

use breakglass_drill::Scenario;
use common::{Drill, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_in_the_guest_and_brings_its_exit_code() {
    let drill = Drill::start(Scenario::DiskFull).await;
    let ran = drill.guest("whoami; uname -n; ls /nowhere; exit 7").await;
    assert_eq!(
        (ran.stdout.as_str(), ran.code),
        ("breakglass\ndevvm\n", Some(7))
    );
    assert_eq!(
        ran.stderr,
        "ls: cannot access '/nowhere': No such file or directory\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_over_ssh_makes_the_machine_whole() {
    let drill = Drill::start(Scenario::DiskFull).await;
    assert!(!drill.simulation.is_healthy());
    let ran = drill
        .guest("sudo truncate -s 0 /var/log/app/trace.log && sudo systemctl restart app")
        .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(drill.simulation.is_healthy());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_let_in() {
    let drill = Drill::start(Scenario::DiskFull).await;
    let stranger = common::key(drill.dir.path(), "stranger");
    for port in [
        drill.simulation.guest_addr().port(),
        drill.simulation.host_addr().port(),
    ] {
        let ran = drill.ssh(&stranger.0, port, &["status"]).await;
        assert_eq!(ran.code, Some(255));
        assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guest_has_no_terminal_and_says_so() {
    let drill = Drill::start(Scenario::DiskFull).await;
    let ran = drill
        .ssh(&drill.key, drill.simulation.guest_addr().port(), &[])
        .await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("runs commands only"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_the_gate_and_nothing_else() {
    let drill = Drill::start(Scenario::DiskFull).await;
    let status = drill.gate(&["status"]).await;
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(
        status.stdout.ends_with("verdict: running\n"),
        "{}",
        status.stdout
    );
    for line in [
        "",
        "id",
        "status; id",
        "cycle 103",
        "STATUS",
        "sh -c id",
        "status --json --json",
    ] {
        let ran = drill.gate(&[line]).await;
        assert_eq!(ran.code, Some(2), "{line:?}");
        assert!(
            ran.stderr.contains("refused") && ran.stderr.contains("allowed"),
            "{line:?}: {}",
            ran.stderr
        );
    }
    let shell = drill.gate(&[]).await;
    assert_eq!(shell.code, Some(2), "{shell:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_guest_does_not_answer_and_a_cycle_brings_it_back() {
    let drill = Drill::start(Scenario::IoStall).await;
    let silent = drill.try_guest().await;
    assert_eq!(silent.code, Some(255));
    assert!(drill.gate(&["status"]).await.stdout.contains("running"));
    let reset = drill.gate(&["reset"]).await;
    assert_eq!(reset.code, Some(0), "{reset:?}");
    assert_eq!(
        drill.try_guest().await.code,
        Some(255),
        "a reset keeps the stalled process"
    );
    let cycle = drill.gate(&["cycle"]).await;
    assert!(cycle.stdout.ends_with("verdict: running\n"), "{cycle:?}");
    drill.until_guest_answers().await;
    assert!(drill.simulation.is_healthy());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_enough_for_a_panic() {
    let drill = Drill::start(Scenario::Panic).await;
    let forensics = drill.gate(&["forensics"]).await;
    assert!(
        forensics.stdout.contains("BUG: kernel NULL pointer"),
        "{forensics:?}"
    );
    assert_eq!(drill.gate(&["reset"]).await.code, Some(0));
    drill.until_guest_answers().await;
    assert!(drill.simulation.is_healthy());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_drops_the_connections_of_the_guest() {
    let drill = Drill::start(Scenario::Oom).await;
    let (hanging, stopped) = tokio::join!(drill.guest("echo up; sleep 300"), async {
        drill.until_guest_answers().await;
        drill.gate(&["stop"]).await
    });
    assert_eq!(hanging.code, Some(255));
    assert!(
        stopped.stdout.ends_with("verdict: stopped\n"),
        "{stopped:?}"
    );
    let refused = drill.guest("true").await;
    assert!(
        refused.stderr.contains("Connection refused"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_ends_with_its_token() {
    let drill = Drill::start(Scenario::IoStall).await;
    let stopping = tokio::time::timeout(PATIENCE, drill.simulation.stop());
    stopping.await.expect("the servers end");
    assert_eq!(drill.gate(&["status"]).await.code, Some(255));
}
