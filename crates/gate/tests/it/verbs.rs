//! The gate as sshd runs it, over the stand-in for `qm`: the effects and output of each verb.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::Host;

#[test]
fn status_of_a_running_guest_is_running_and_changes_nothing() {
    let host = Host::running();
    let (code, out, err) = host.send("status");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: running")),
        "{out}{err}"
    );
    assert_eq!(host.changes(), [""; 0]);
    assert!(!host.path("forensics").exists());
}

#[test]
fn suffix_json_makes_the_last_line_an_object() {
    let host = Host::stopped();
    let (code, out, _) = host.send("status --json");
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(code, 0);
    assert_eq!(
        (&last["verb"], &last["exit"]),
        (&"status".into(), &0.into())
    );
    assert_eq!(last["verdict"], "stopped");
    let (_, out, _) = host.send("start --json");
    assert_eq!(
        out.lines().last(),
        Some(r#"{"exit":0,"verb":"start","verdict":"running"}"#)
    );
}

#[test]
fn hung_monitor_is_reported_although_qm_prints_running() {
    let host = Host::running();
    host.set("monitor-hangs", "");
    let (code, out, _) = host.send("status");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: monitor-dead")),
        "{out}"
    );
}

#[test]
fn cycle_replaces_the_process_and_runs_it() {
    let host = Host::running();
    let before = host.pid();
    let (code, out, err) = host.send("cycle");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: running")),
        "{out}{err}"
    );
    assert_ne!(host.pid(), before);
    assert_eq!(host.changes(), ["stop 102", "start 102"]);
}

#[test]
fn cycle_starts_a_guest_that_was_off() {
    let host = Host::stopped();
    let (code, out, _) = host.send("cycle");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: running")),
        "{out}"
    );
}

#[test]
fn start_is_repeated_after_a_systemd_timeout() {
    let host = Host::running();
    host.set("systemd-once", "");
    let (code, out, err) = host.send("cycle");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: running")),
        "{out}{err}"
    );
    assert_eq!(host.changes(), ["stop 102", "start 102", "start 102"]);
}

#[test]
fn guest_left_off_by_a_failed_cycle_is_reported_in_capitals() {
    let host = Host::running();
    host.write_policy("start_seconds = 1\n");
    host.set("fail-start", "no quorum");
    let (code, out, err) = host.send("cycle");
    assert_eq!((code, out.lines().last()), (1, Some("verdict: stopped")));
    assert!(
        err.contains("GUEST 102 WAS RUNNING AND IS NOW OFF"),
        "{err}"
    );
    assert!(err.contains("no quorum"), "{err}");
}

#[test]
fn qemu_that_survives_a_successful_qm_stop_is_ended_by_signals_before_the_start() {
    for (knob, signals) in [("keep-qemu", 1), ("stubborn", 2)] {
        let host = Host::stopped();
        // Short if the wait is in vain; generous if something has to happen in time.
        let terminate = if signals == 1 { 20 } else { 1 };
        host.write_policy(&format!(
            "terminate_seconds = {terminate}\nsettle_seconds = 5\n"
        ));
        host.set(knob, "");
        assert!(host.qm(&["start", "102"]).status.success());
        let before = host.pid().unwrap();
        host.set("forgotten", &before.to_string());
        host.set("keep-qemu", "");
        let (code, out, err) = host.send("cycle");
        assert_eq!(
            (code, out.lines().last()),
            (0, Some("verdict: running")),
            "{out}{err}"
        );
        assert_ne!(host.pid(), Some(before));
        for (number, line) in ["terminate: SIGTERM to", "kill: SIGKILL to"]
            .iter()
            .enumerate()
        {
            assert_eq!(out.contains(line), number < signals, "{knob}: {out}");
        }
    }
}

#[test]
fn locked_guest_is_left_alone_and_the_lock_is_the_verdict() {
    let host = Host::running();
    host.set("lock", "backup");
    for verb in ["stop", "reset", "cycle"] {
        let (code, out, _) = host.send(verb);
        assert_eq!(
            (code, out.lines().last()),
            (1, Some("verdict: locked (backup)")),
            "{out}"
        );
    }
    assert!(host.pid().is_some());
}

#[test]
fn start_of_a_running_guest_and_stop_of_a_stopped_one_succeed() {
    let host = Host::running();
    assert_eq!(host.send("start").0, 0);
    assert_eq!(host.changes(), [""; 0]);
    assert_eq!(host.send("stop").0, 0);
    let (code, out, _) = host.send("stop");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: stopped")),
        "{out}"
    );
}

#[test]
fn reset_keeps_the_process_and_resumes_a_paused_guest() {
    let host = Host::running();
    let before = host.pid();
    assert_eq!(host.send("reset").0, 0);
    assert_eq!(host.pid(), before);
    host.set("runstate", "paused");
    for verb in ["reset", "start"] {
        host.set("runstate", "paused");
        let (code, out, _) = host.send(verb);
        let last = out.lines().last();
        assert_eq!((code, last), (0, Some("verdict: running")), "{out}");
    }
    assert_eq!(host.pid(), before);
}

#[test]
fn qm_that_hangs_is_killed_at_its_timeout_and_qemu_is_ended_without_it() {
    let host = Host::running();
    host.write_policy("stop_seconds = 1\n");
    host.set("hang-stop", "");
    let began = Instant::now();
    let (code, out, err) = host.send("stop");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: stopped")),
        "{out}{err}"
    );
    assert!(
        out.contains("stop: qm stop: not finished after 1 s, killed"),
        "{out}"
    );
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn forensics_come_before_every_mutating_verb_and_are_private() {
    let host = Host::running();
    for verb in ["forensics", "reset", "cycle", "stop", "start"] {
        let (code, out, err) = host.send(verb);
        assert_eq!(code, 0, "{verb}: {out}{err}");
        let dir = bundle(&host, verb);
        assert_eq!(
            fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let status = fs::read_to_string(dir.join("qm-status.txt")).unwrap();
        assert_eq!(status, "vmid: 102\n");
        let mode = fs::metadata(dir.join("qm-status.txt"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        if verb == "start" {
            let missing = fs::read_to_string(dir.join("query-status.txt")).unwrap();
            assert_eq!(missing, "missing: there is no QEMU process\n");
        } else {
            for file in [
                "query-blockstats-later.txt",
                "screen.png",
                "qemu-threads.txt",
            ] {
                assert!(dir.join(file).exists(), "{verb}: {file}");
            }
        }
        let summary = fs::read_to_string(dir.join("00-summary.txt")).unwrap();
        assert!(summary.starts_with("qemu: "), "{summary}");
        let serial = fs::read_to_string(dir.join("serial.txt")).unwrap();
        assert!(serial.starts_with("missing: /"), "{serial}");
    }
}

fn bundle(host: &Host, verb: &str) -> std::path::PathBuf {
    let bundles = fs::read_dir(host.path("forensics"))
        .unwrap()
        .map(|e| e.unwrap().path());
    bundles
        .into_iter()
        .find(|p| p.to_string_lossy().ends_with(&format!("-{verb}")))
        .unwrap()
}

#[test]
fn forensics_that_cannot_be_kept_are_printed_and_prevent_nothing() {
    let host = Host::running();
    fs::write(host.path("forensics"), "a file is in the way").unwrap();
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("forensics can't be kept"), "{err}");
    assert!(out.contains("forensics: query-status: "), "{out}");
}

#[test]
fn only_the_oldest_bundles_are_removed() {
    let host = Host::stopped();
    host.write_policy("keep_bundles = 2\n");
    for name in [
        "20200101T000000Z-cycle",
        "20200102T000000Z-stop",
        "notes",
        "20200102T000000Z-x",
    ] {
        fs::create_dir_all(host.path("forensics").join(name)).unwrap();
    }
    assert_eq!(host.send("forensics").0, 0);
    let mut left: Vec<String> = fs::read_dir(host.path("forensics"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with("-forensics"))
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["20200102T000000Z-stop", "20200102T000000Z-x", "notes"]
    );
}

#[test]
fn every_decision_is_one_log_line_with_time_source_and_outcome() {
    let host = Host::stopped();
    host.send("status");
    host.send("status\n1970-01-01T00:00:00Z source=forged");
    let log = host.host_log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("20") && line.contains("Z source=192.0.2.7 "))
    );
    assert!(lines[0].ends_with("request=\"status\" accepted"), "{log}");
    assert!(
        lines[1].ends_with("finished verdict=\"stopped\" exit=0"),
        "{log}"
    );
    assert!(
        lines[2].contains(r"status\n1970") && lines[2].contains("refused"),
        "{log}"
    );
    let mode = fs::metadata(host.path("journal"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn syslog_gets_the_same_line_with_facility_auth() {
    let host = Host::stopped();
    let syslog = std::os::unix::net::UnixDatagram::bind(host.path("log")).unwrap();
    syslog
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    host.send("id");
    let mut message = [0; 512];
    let length = syslog.recv(&mut message).unwrap();
    let message = std::str::from_utf8(&message[..length]).unwrap();
    assert!(message.starts_with("<37>breakglass-gate["), "{message}");
    assert!(
        message.contains("source=192.0.2.7 request=\"id\" refused"),
        "{message}"
    );
}

#[test]
fn log_that_cannot_be_written_is_reported_and_prevents_nothing() {
    let host = Host::running();
    fs::create_dir(host.path("journal")).unwrap();
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    assert!(err.contains("can't be written"), "{err}");
}

#[test]
fn run_directory_that_cannot_be_used_prevents_nothing() {
    let host = Host::running();
    fs::write(host.path("runs"), "a file is in the way").unwrap();
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        err.contains("runs in this channel, so keep it open"),
        "{err}"
    );
}

#[test]
fn io_stall_shows_as_a_write_rate_of_zero() {
    let host = Host::running();
    host.write_policy("sample_gap_seconds = 1\n");
    let disk = || {
        let (_, out, _) = host.send("vitals");
        let vitals: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        let number = |name: &str| vitals["disk"][name].as_u64().unwrap();
        (number("writes_per_s"), number("sampled_ms"))
    };
    let (rate, gap) = disk();
    assert!(gap >= 1_000, "{gap} ms");
    assert_eq!(rate, 100 * 1_000 / gap);
    host.set("stalled", "");
    assert_eq!(disk().0, 0);
}

#[test]
fn only_the_lock_of_an_interrupted_suspension_is_removed() {
    for (lock, code) in [("suspending", 0), ("migrate", 1)] {
        let host = Host::stopped();
        host.set("lock", lock);
        let (exit, out, _) = host.send("start");
        assert_eq!(exit, code, "{out}");
        assert_eq!(host.changes().contains(&"unlock 102".to_owned()), code == 0);
    }
}
