//! A mutating verb outlives the connection that asked for it, and there is one at a time.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Host, wait_for};

fn begin(host: &Host, verb: &str) -> Child {
    let mut gate = host.gate(verb);
    gate.stdout(Stdio::piped()).stderr(Stdio::piped());
    gate.spawn().unwrap()
}

fn run_file(host: &Host) -> String {
    fs::read_to_string(host.path("runs/102/run")).unwrap_or_default()
}

/// The process number of the worker, from the first line of its run.
fn worker(host: &Host) -> String {
    run_file(host)
        .split([' ', '\n'])
        .nth(2)
        .unwrap_or_default()
        .to_owned()
}

fn kill(signal: &str, pid: &str) {
    let status = std::process::Command::new("kill")
        .args([signal, pid])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Whether a gate of this host is there: a front, or a worker however early in its life. Each names
/// the policy in its arguments.
fn a_gate_lives(host: &Host) -> bool {
    let policy = host.path("gate.toml");
    let policy = policy.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default())
        .any(|line| String::from_utf8_lossy(&line).contains(policy))
}

#[test]
fn a_connection_cut_at_any_moment_of_a_cycle_leaves_the_guest_running() {
    // The first ones count from the front's start, the others from the run's beginning.
    let (early, late) = (
        [0, 3, 10, 20, 40],
        [0, 40, 100, 170, 270, 420, 620, 820, 1120, 1520],
    );
    let early = early.map(|moment| (false, moment));
    let moments = early.into_iter().chain(late.map(|moment| (true, moment)));
    let cut = |(number, (has_begun, moment)): (usize, (bool, u64))| {
        let host = Host::running();
        let before = host.pid();
        let mut front = begin(&host, "cycle");
        wait_for(|| !has_begun || !run_file(&host).is_empty());
        // A moment of the real cycle is what this is about, not a state to wait for.
        std::thread::sleep(Duration::from_millis(moment));
        let signal = ["-KILL", "-HUP", "-TERM"][number % 3];
        kill(signal, &front.id().to_string());
        front.wait().unwrap();
        // A worker that the front has made begins and ends its run; nobody else makes one any more.
        wait_for(|| !a_gate_lives(&host));
        if !has_begun && run_file(&host).is_empty() {
            assert_eq!((host.changes(), host.pid()), (Vec::new(), before));
            return;
        }
        assert!(
            run_file(&host).ends_with("=0\n"),
            "{moment} ms: {}",
            run_file(&host)
        );
        assert!(host.pid().is_some() && host.pid() != before, "{moment} ms");
        assert_eq!(host.changes(), ["stop 102", "start 102"], "{moment} ms");
    };
    moments.enumerate().for_each(cut);
}

#[test]
fn a_cycle_outlives_a_reader_that_closed_its_ears() {
    let host = Host::running();
    let before = host.pid();
    let mut front = begin(&host, "cycle");
    drop((front.stdout.take(), front.stderr.take()));
    assert_eq!(front.wait().unwrap().code(), Some(0));
    assert!(host.pid().is_some() && host.pid() != before);
}

#[test]
fn the_worker_has_a_session_of_its_own_no_input_and_a_private_run_file() {
    let host = Host::running();
    host.set("held-stop", "");
    let front = begin(&host, "cycle");
    wait_for(|| host.changes() == ["stop 102"]);
    let worker = worker(&host);
    let stat = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
    let session = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(3)
        .unwrap()
        .to_owned();
    assert_eq!(session, worker);
    let input = fs::read_link(format!("/proc/{worker}/fd/0")).unwrap();
    assert_eq!(input.to_str(), Some("/dev/null"));
    let mode = |name: &str| fs::metadata(host.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("runs/102"), mode("runs/102/run")), (0o700, 0o600));
    host.unset("held-stop");
    assert_eq!(front.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn the_same_verb_attaches_and_tells_all_and_ends_alike() {
    let host = Host::running();
    host.set("held-stop", "");
    let first = begin(&host, "cycle");
    wait_for(|| host.changes() == ["stop 102"]);
    let second = begin(&host, "cycle --json");
    wait_for(|| host.journal().contains("attached since=20"));
    host.unset("held-stop");
    let second = second.wait_with_output().unwrap();
    let out = String::from_utf8(second.stdout).unwrap();
    assert_eq!(second.status.code(), Some(0), "{out}");
    assert!(
        out.starts_with("attached to cycle that runs since 20"),
        "{out}"
    );
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(
        last,
        serde_json::json!({ "verb": "cycle", "verdict": "running", "exit": 0 })
    );
    let first = first.wait_with_output().unwrap();
    let first = String::from_utf8(first.stdout).unwrap();
    let middle = |text: &str, skip: usize| {
        let lines: Vec<String> = text.lines().skip(skip).map(str::to_owned).collect();
        lines[..lines.len() - 1].to_vec()
    };
    assert_eq!(middle(&out, 1), middle(&first, 0));
    assert_eq!(host.changes(), ["stop 102", "start 102"]);
}

#[test]
fn another_mutating_verb_is_refused_with_what_runs_and_reading_is_not() {
    let host = Host::running();
    host.set("held-stop", "");
    let first = begin(&host, "stop");
    wait_for(|| host.changes() == ["stop 102"]);
    let (code, out, err) = host.send("cycle");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("refused: stop runs since 20"), "{err}");
    assert!(err.contains("allowed: status, forensics"), "{err}");
    let (code, out, _) = host.send("status");
    assert_eq!(code, 0);
    assert!(out.starts_with("run: stop runs since 20"), "{out}");
    host.unset("held-stop");
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn a_worker_that_is_too_slow_to_begin_never_begins_beside_the_channel_that_does_its_work() {
    let host = Host::running();
    fs::create_dir_all(host.path("runs/102")).unwrap();
    // Opening it to write waits for a reader, who does not come.
    let made = Command::new("mkfifo")
        .arg(host.path("runs/102/lock"))
        .status();
    assert!(made.unwrap().success());
    let (code, out, err) = host.send("cycle");
    assert!(err.contains("the verb runs in this channel"), "{err}");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: running")),
        "{out}"
    );
    wait_for(|| !a_gate_lives(&host));
    assert_eq!(host.changes(), ["stop 102", "start 102"]);
}

#[test]
fn twenty_presses_at_once_make_one_run() {
    let host = Host::running();
    host.set("held-stop", "");
    let fronts: Vec<Child> = (0..20).map(|_| begin(&host, "cycle")).collect();
    wait_for(|| host.journal().matches("attached since=20").count() == 19);
    host.unset("held-stop");
    for front in fronts {
        let output = front.wait_with_output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{out}");
        assert_eq!(out.lines().last(), Some("verdict: running"));
    }
    assert_eq!(host.changes(), ["stop 102", "start 102"]);
}

#[test]
fn a_worker_that_was_killed_is_told_at_once_and_by_the_next_call_and_repaired_by_it() {
    let host = Host::running();
    host.set("held-start", "");
    let front = begin(&host, "cycle");
    wait_for(|| host.changes() == ["stop 102", "start 102"]);
    kill("-KILL", &worker(&host));
    let output = front.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(
        err.contains("the worker of cycle is gone before it ended"),
        "{err}"
    );
    assert_eq!(out.lines().last(), Some("verdict: stopped"));
    let (_, out, _) = host.send("status");
    assert!(
        out.contains("its worker is gone before it ended; if the guest is off, start or cycle"),
        "{out}"
    );
    // What the killed worker had asked for still comes to pass, as with the real tool.
    host.unset("held-start");
    wait_for(|| host.pid().is_some());
    let (code, out, err) = host.send("cycle");
    assert_eq!(
        (code, out.lines().last()),
        (0, Some("verdict: running")),
        "{out}{err}"
    );
    assert!(err.contains("run: cycle began at 20"), "{err}");
    let (_, out, _) = host.send("status");
    assert!(!out.contains("run: "), "{out}");
}
