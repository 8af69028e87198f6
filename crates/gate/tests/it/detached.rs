//! A mutating verb survives the connection that asked for it, and only one runs at a time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Host, wait_for};

fn begin(host: &Host, verb: &str) -> Child {
    let mut gate = host.gate(verb);
    gate.stdout(Stdio::piped()).stderr(Stdio::piped());
    gate.spawn().unwrap()
}

fn run_file(host: &Host) -> String {
    fs::read_to_string(host.path("runs/102/run")).unwrap_or_default()
}

/// The worker's process id, from the first line of the run file.
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

/// Whether a gate of this host exists, in a channel or as a worker, however young. Each has the policy
/// in its arguments.
fn has_gate_process(host: &Host) -> bool {
    let policy = host.path("gate.toml");
    let policy = policy.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default())
        .any(|line| String::from_utf8_lossy(&line).contains(policy))
}

#[test]
fn guest_runs_after_a_cycle_whose_connection_broke_at_any_moment() {
    // The first delays count from the start of the gate, the others from the start of the run.
    let (early, late) = (
        [0, 3, 10, 20, 40],
        [0, 40, 100, 170, 270, 420, 620, 820, 1120, 1520],
    );
    let early = early.map(|moment| (false, moment));
    let moments = early.into_iter().chain(late.map(|moment| (true, moment)));
    let signals = ["-KILL", "-HUP", "-TERM"].into_iter().cycle();
    let cuts: Vec<(&str, (bool, u64))> = signals.zip(moments).collect();
    // A few hosts side by side: most of a cycle is spent waiting.
    for some in cuts.chunks(5) {
        std::thread::scope(|scope| {
            for (signal, moment) in some {
                scope.spawn(move || guest_runs_after_cut(signal, *moment));
            }
        });
    }
}

/// Kills the channel of a cycle by `signal`, some milliseconds after its start or after its run has begun.
fn guest_runs_after_cut(signal: &str, (has_begun, moment): (bool, u64)) {
    let host = Host::running();
    let before = host.pid();
    let mut channel = begin(&host, "cycle");
    wait_for(|| !has_begun || !run_file(&host).is_empty());
    // The test needs a moment within the cycle, not a state to wait for.
    std::thread::sleep(Duration::from_millis(moment));
    kill(signal, &channel.id().to_string());
    channel.wait().unwrap();
    // If the gate has started a worker, the worker finishes its run.
    wait_for(|| !has_gate_process(&host));
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
}

#[test]
fn cycle_completes_after_reader_closes_stdout() {
    let host = Host::running();
    let before = host.pid();
    let mut channel = begin(&host, "cycle");
    drop((channel.stdout.take(), channel.stderr.take()));
    assert_eq!(channel.wait().unwrap().code(), Some(0));
    assert!(host.pid().is_some() && host.pid() != before);
}

#[test]
fn worker_has_its_own_session_no_input_and_a_private_run_file() {
    let host = Host::running();
    host.set("held-stop", "");
    let channel = begin(&host, "cycle");
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
    assert_eq!(channel.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn same_verb_attaches_and_gets_the_complete_output_and_exit_code() {
    let host = Host::running();
    host.set("held-stop", "");
    let first = begin(&host, "cycle");
    wait_for(|| host.changes() == ["stop 102"]);
    let second = begin(&host, "cycle --json");
    wait_for(|| host.host_log().contains("attached since=20"));
    host.unset("held-stop");
    let second = second.wait_with_output().unwrap();
    let out = String::from_utf8(second.stdout).unwrap();
    assert_eq!(second.status.code(), Some(0), "{out}");
    assert!(
        out.starts_with("attached to cycle, which has been running since 20"),
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
fn other_mutating_verb_is_refused_while_one_runs_and_status_is_not() {
    let host = Host::running();
    host.set("held-stop", "");
    let first = begin(&host, "stop");
    wait_for(|| host.changes() == ["stop 102"]);
    let (code, out, err) = host.send("cycle");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.starts_with("refused: stop has been running since 20"),
        "{err}"
    );
    assert!(err.contains("allowed: status, forensics"), "{err}");
    let (code, out, _) = host.send("status");
    assert_eq!(code, 0);
    assert!(
        out.starts_with("run: stop has been running since 20"),
        "{out}"
    );
    host.unset("held-stop");
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn worker_that_starts_too_late_is_killed_before_the_channel_runs_the_verb() {
    let host = Host::running();
    fs::create_dir_all(host.path("runs/102")).unwrap();
    // Opening it for writing waits for a reader, and there is none.
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
    wait_for(|| !has_gate_process(&host));
    assert_eq!(host.changes(), ["stop 102", "start 102"]);
}

#[test]
fn twenty_simultaneous_requests_make_one_run() {
    let host = Host::running();
    host.set("held-stop", "");
    let channels: Vec<Child> = (0..20).map(|_| begin(&host, "cycle")).collect();
    wait_for(|| host.host_log().matches("attached since=20").count() == 19);
    host.unset("held-stop");
    for channel in channels {
        let output = channel.wait_with_output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{out}");
        assert_eq!(out.lines().last(), Some("verdict: running"));
    }
    assert_eq!(host.changes(), ["stop 102", "start 102"]);
}

#[test]
fn killed_worker_is_reported_at_once_and_by_the_next_verb_which_recovers_the_guest() {
    let host = Host::running();
    host.set("held-start", "");
    let channel = begin(&host, "cycle");
    wait_for(|| host.changes() == ["stop 102", "start 102"]);
    kill("-KILL", &worker(&host));
    let output = channel.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(
        err.contains("the worker of cycle died before it finished"),
        "{err}"
    );
    assert_eq!(out.lines().last(), Some("verdict: stopped"));
    let (_, out, _) = host.send("status");
    assert!(
        out.contains(
            "its worker died before it finished; if the guest is off, send start or cycle"
        ),
        "{out}"
    );
    // The start that the killed worker requested still takes effect, as with the real tool.
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
