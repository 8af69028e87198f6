//! The simulated target, tested with the stock OpenSSH client.
use crate::common::{Drill, WAIT_TIMEOUT};
use breakglass_drill::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_in_the_guest_and_returns_its_exit_code() {
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
async fn a_repair_over_ssh_repairs_the_machine() {
    let drill = Drill::start(Scenario::DiskFull).await;
    assert!(!drill.simulation.is_repaired());
    let ran = drill
        .guest("sudo truncate -s 0 /var/log/app/trace.log && sudo systemctl restart app")
        .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(drill.simulation.is_repaired());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused() {
    let drill = Drill::start(Scenario::DiskFull).await;
    let unknown = crate::common::key(drill.dir.path(), "unknown");
    for port in [
        drill.simulation.guest_addr().port(),
        drill.simulation.host_addr().port(),
    ] {
        let ran = drill.ssh(&unknown.0, port, &["status"]).await;
        assert_eq!(ran.code, Some(255));
        assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_on_the_guest_is_refused_with_a_reason() {
    let drill = Drill::start(Scenario::DiskFull).await;
    let ran = drill
        .ssh(&drill.key, drill.simulation.guest_addr().port(), &[])
        .await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("runs commands only"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_runs_the_gate_and_nothing_else() {
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
async fn a_stalled_guest_answers_after_a_cycle_but_not_after_a_reset() {
    let drill = Drill::start(Scenario::IoStall).await;
    let unanswered = drill.try_guest().await;
    assert_eq!(unanswered.code, Some(255));
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
    assert!(drill.simulation.is_repaired());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_a_panic() {
    let drill = Drill::start(Scenario::Panic).await;
    let forensics = drill.gate(&["forensics"]).await;
    assert!(
        forensics.stdout.contains("BUG: kernel NULL pointer"),
        "{forensics:?}"
    );
    assert_eq!(drill.gate(&["reset"]).await.code, Some(0));
    drill.until_guest_answers().await;
    assert!(drill.simulation.is_repaired());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_guests_connections() {
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
async fn stop_ends_both_servers() {
    let drill = Drill::start(Scenario::IoStall).await;
    let stopping = tokio::time::timeout(WAIT_TIMEOUT, drill.simulation.stop());
    stopping.await.expect("the servers end");
    assert_eq!(drill.gate(&["status"]).await.code, Some(255));
}
