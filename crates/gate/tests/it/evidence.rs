//! The evidence of a guest whose files, monitor or tool are broken.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Host, HungFiles};

/// Generous for any answer that the gate does not wait for in vain, on an overloaded machine.
const SOON: Duration = Duration::from_secs(20);

fn last(out: &str) -> &str {
    out.lines().last().unwrap_or_default()
}

/// Creates something at the path that is not a readable pid file.
type Spoil = fn(&Path);

const SPOILT: [(&str, Spoil, &str); 9] = [
    (
        "a pipe",
        |at| assert!(Command::new("mkfifo").arg(at).status().unwrap().success()),
        "a pipe, not a file",
    ),
    (
        "a directory",
        |at| fs::create_dir(at).unwrap(),
        "a directory, not a file",
    ),
    ("a loop", |at| symlink(at, at).unwrap(), "Too many levels"),
    (
        "a device",
        |at| symlink("/dev/zero", at).unwrap(),
        "a device, not a file",
    ),
    (
        "a link to nothing",
        |at| symlink("absent", at).unwrap(),
        "a link to a missing file",
    ),
    (
        "empty",
        |at| fs::write(at, "").unwrap(),
        "does not contain a process id",
    ),
    (
        "words",
        |at| fs::write(at, "soon\n").unwrap(),
        "does not contain a process id",
    ),
    (
        "too large a number",
        |at| fs::write(at, "99999999999").unwrap(),
        "does not contain a process id",
    ),
    (
        "huge",
        |at| fs::write(at, vec![b'1'; 1 << 20]).unwrap(),
        "larger than 524288 bytes",
    ),
];

#[test]
fn unreadable_pid_file_makes_the_verdict_unknown_with_the_reason() {
    for (name, spoil, why) in SPOILT {
        let host = Host::stopped();
        spoil(&host.state().join("run/102.pid"));
        let began = Instant::now();
        let (code, out, err) = host.send("status");
        assert!(
            last(&out).starts_with("verdict: unknown ("),
            "{name}: {out}{err}"
        );
        assert!(last(&out).contains(why), "{name}: {out}");
        assert_eq!(code, 1, "{name}: {out}");
        assert!(began.elapsed() < SOON, "{name}: {:?}", began.elapsed());
        // The stand-in would read it too, to end its "QEMU".
        remove(&host.state().join("run/102.pid"));
    }
}

#[test]
fn control_group_replaces_a_spoilt_pid_file_unless_it_is_empty() {
    for (name, spoil, _) in SPOILT {
        let host = Host::running();
        let (pid, file) = (host.pid().unwrap(), host.state().join("run/102.pid"));
        fs::remove_file(&file).unwrap();
        spoil(&file);
        let scope = host.path("cgroup/102.scope");
        fs::create_dir_all(&scope).unwrap();
        fs::write(scope.join("cgroup.procs"), format!("1\n{pid}\n")).unwrap();
        let (_, out, _) = host.send("status");
        assert_eq!(last(&out), "verdict: running", "{name}: {out}");
        fs::write(scope.join("cgroup.procs"), "").unwrap();
        let (_, out, _) = host.send("status");
        assert!(
            last(&out).starts_with("verdict: unknown ("),
            "{name}: {out}"
        );
        put_back(&file, pid);
    }
}

/// Restores the pid file, so that the host finds its "QEMU" at the end.
fn put_back(file: &Path, pid: u32) {
    remove(file);
    fs::write(file, pid.to_string()).unwrap();
}

fn remove(file: &Path) {
    let _ = fs::remove_dir(file);
    let _ = fs::remove_file(file);
}

#[test]
fn empty_scope_and_pid_of_another_program_are_not_the_guest() {
    let host = Host::stopped();
    fs::create_dir_all(host.path("cgroup/102.scope")).unwrap();
    // This process, init, and a kernel thread, which has no command line.
    for pid in [std::process::id(), 1, 2] {
        host.set("run/102.pid", &pid.to_string());
        let (code, out, _) = host.send("status");
        assert_eq!((code, last(&out)), (0, "verdict: stopped"), "{pid}: {out}");
    }
    host.unset("run/102.pid");
}

#[test]
fn pipes_in_place_of_other_files_cause_notes_and_no_delay() {
    let host = Host::running();
    let pipe = |name: &str| {
        let made = Command::new("mkfifo").arg(host.path(name)).status();
        assert!(made.unwrap().success());
    };
    ["tasks", "serial", "journal", "log"]
        .into_iter()
        .for_each(pipe);
    let began = Instant::now();
    let (code, out, err) = host.send("cycle");
    assert_eq!((code, last(&out)), (0, "verdict: running"), "{out}{err}");
    assert!(out.contains("a pipe, not a file"), "{out}");
    assert!(err.contains("the gate's log can't be written"), "{err}");
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn real_vm_file_system_that_hangs_in_the_kernel_delays_neither_output_nor_exit() {
    let host = Host::running();
    let hung = HungFiles::mount();
    let policy = format!("pve_dir = \"{}\"\nask_seconds = 4\n", hung.dir().display());
    host.write_policy(&policy);
    // The cycle ends nothing, because the guest could not be started again.
    for (verb, exit) in [("status", 0), ("vitals", 0), ("cycle", 1)] {
        let began = Instant::now();
        let (code, out, err) = host.send(verb);
        assert_eq!((code, last(&out)), (exit, "verdict: running"), "{out}{err}");
        assert!(out.contains("no answer within"), "{out}");
        assert!(began.elapsed() < 2 * SOON, "{verb}: {:?}", began.elapsed());
    }
    assert!(hung.asked() > 0, "nothing was read from the file system");
    // After a few hung probes, the file system is not read any more, and the rest is still reported.
    let blind = "not asked for: earlier probes still hang in the kernel";
    let kernel_only: Vec<bool> = (0..6)
        .map(|_| host.send("vitals").1.contains(blind))
        .collect();
    assert_eq!(kernel_only, [false, false, true, true, true, true]);
    let asked = hung.asked();
    let (_, out, _) = host.send("status");
    assert_eq!((last(&out), hung.asked()), ("verdict: running", asked));
    assert!(out.contains("ha: unknown: not asked"), "{out}");
    drop(hung);
    crate::support::wait_for(|| !host.send("status").1.contains(blind));
}

#[test]
fn policy_that_is_a_pipe_allows_nothing_and_does_not_hang() {
    let host = Host::stopped();
    fs::remove_file(host.path("gate.toml")).unwrap();
    let made = Command::new("mkfifo").arg(host.path("gate.toml")).status();
    assert!(made.unwrap().success());
    let began = Instant::now();
    let (code, _, err) = host.send("status");
    assert_eq!(code, 2);
    assert!(err.contains("a pipe, not a file"), "{err}");
    assert!(began.elapsed() < SOON);
}

/// Creates something in place of a monitor.
type Impostor = dyn FnOnce(PathBuf);

/// A running guest with `impostor` in place of its monitor.
fn with_monitor(impostor: impl FnOnce(PathBuf)) -> (Host, PathBuf) {
    let mut host = Host::running();
    host.end_monitor();
    let socket = host.state().join("run/102.qmp");
    let _ = fs::remove_file(&socket);
    impostor(socket.clone());
    (host, socket)
}

/// Sends `words` to every client, `times` times.
fn flood(socket: PathBuf, words: &'static [u8], times: usize) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = (0..times).try_for_each(|_| client.write_all(words));
        }
    });
}

#[test]
fn monitor_that_is_missing_malformed_or_endless_is_dead_in_time() {
    let greeting: &'static [u8] = br#"{"QMP": {"version": {}, "capabilities": []}}
"#;
    let impostors: [(&str, Box<Impostor>); 6] = [
        ("a file", Box::new(|at| fs::write(at, "QMP").unwrap())),
        ("a directory", Box::new(|at| fs::create_dir(at).unwrap())),
        ("garbage", Box::new(|at| flood(at, b"\x00\xff\x1b[2J\n", 3))),
        (
            "a gibibyte without an end",
            Box::new(|at| flood(at, &[b'x'; 1 << 16], 1 << 14)),
        ),
        (
            "greetings for ever",
            Box::new(move |at| flood(at, greeting, 1 << 24)),
        ),
        (
            "an answer of another shape",
            Box::new(|at| flood(at, b"{\"QMP\": 1}\n{\"return\": []}\n", 9)),
        ),
    ];
    for (name, impostor) in impostors {
        let (host, socket) = with_monitor(impostor);
        let began = Instant::now();
        let (code, out, err) = host.send("vitals");
        assert_eq!(
            (code, last(&out)),
            (0, "verdict: monitor-dead"),
            "{name}: {out}{err}"
        );
        assert!(began.elapsed() < SOON, "{name}: {:?}", began.elapsed());
        assert!(out.len() < 8_000, "{name}: {} bytes", out.len());
        let _ = fs::remove_dir(socket);
    }
}

#[test]
fn unknown_run_state_stays_one_short_line() {
    let host = Host::running();
    host.set("runstate", &"\\u001b[2J\\u202e".repeat(500));
    let (_, out, _) = host.send("status");
    assert!(out.lines().all(|line| line.len() < 900), "{out}");
    assert!(!out.contains(['\u{1b}', '\u{202e}']), "{out:?}");
    assert!(
        last(&out).starts_with("verdict: unknown (QEMU is up, the guest is "),
        "{out}"
    );
}

#[test]
fn warnings_of_a_successful_qm_are_reported_and_escaped() {
    let host = Host::running();
    host.set(
        "warn-pending",
        "WARN: storage 'lab' is \u{1b}[31mnot online\u{1b}[0m\n",
    );
    host.set(
        "warn-start",
        "WARN: no efidisk configured! Using temporary efivars disk.\n",
    );
    let (_, out, _) = host.send("status");
    assert!(
        out.contains(r"note: qm pending: WARN: storage 'lab' is \u{1b}[31mnot online"),
        "{out}"
    );
    let (code, out, _) = host.send("cycle");
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("start: WARN: no efidisk configured! Using temporary efivars disk."),
        "{out}"
    );
}

#[test]
fn each_run_state_has_its_remedy_and_start_follows_it() {
    let host = Host::running();
    for (state, remedy, is_resumed) in [
        ("paused", "start resumes it", true),
        ("suspended", "start wakes it", true),
        ("io-error", "free space on the host", true),
        ("prelaunch", "start resumes it", true),
        ("debug", "start resumes it", true),
        ("shutdown", "send cycle", false),
        ("internal-error", "send cycle, or reset", false),
        ("guest-panicked", "send reset, or cycle", false),
        ("watchdog", "send reset, or cycle", false),
        ("save-vm", "wait", false),
        ("restore-vm", "wait", false),
        ("inmigrate", "do nothing here", false),
        ("postmigrate", "do nothing here", false),
        ("finish-migrate", "do nothing here", false),
        ("colo", "do nothing here", false),
        ("moon-phase", "does not know this state", false),
    ] {
        host.set("runstate", state);
        let (_, out, _) = host.send("status");
        let line = out.lines().find(|line| line.starts_with("remedy: "));
        assert!(
            line.is_some_and(|line| line.contains(remedy)),
            "{state}: {out}"
        );
        let before = host.changes().len();
        let (code, out, err) = host.send("start");
        let changes = host.changes().split_off(before);
        if is_resumed {
            assert_eq!(
                (code, changes),
                (0, vec!["resume 102".to_owned()]),
                "{state}: {out}{err}"
            );
        } else {
            assert_eq!((code, changes), (1, Vec::new()), "{state}: {out}{err}");
            assert!(err.contains(remedy), "{state}: {err}");
        }
    }
}

#[test]
fn migrating_guest_is_neither_cycled_nor_reset_and_may_be_stopped() {
    let host = Host::running();
    for state in ["inmigrate", "postmigrate", "finish-migrate", "colo"] {
        host.set("runstate", state);
        for verb in ["cycle", "reset"] {
            let (code, out, err) = host.send(verb);
            assert_eq!(code, 1, "{state}: {out}{err}");
            assert!(err.contains("nothing was changed"), "{state}: {err}");
        }
    }
    assert_eq!(host.changes(), [""; 0]);
    assert_eq!(host.send("stop").0, 0);
}

#[test]
fn qemu_that_ends_seconds_after_its_start_is_not_running() {
    for verb in ["start", "cycle"] {
        let host = if verb == "start" {
            Host::stopped()
        } else {
            Host::running()
        };
        host.write_policy("settle_seconds = 6\n");
        host.set("short-lived", "1.5");
        let (code, out, err) = host.send(verb);
        // After a cycle the start is repeated, and the next process keeps running.
        let expected = match verb {
            "start" => (1, "verdict: stopped"),
            _ => (0, "verdict: running"),
        };
        assert_eq!((code, last(&out)), expected, "{out}{err}");
        assert!(out.contains("ended by itself"), "{out}{err}");
    }
}

#[test]
fn qemu_that_comes_up_after_the_timeout_is_running_and_reported_as_late() {
    let host = Host::running();
    host.write_policy("start_seconds = 1\nsettle_seconds = 30\n");
    host.set("late-start", "4");
    let (code, out, err) = host.send("cycle");
    assert_eq!((code, last(&out)), (0, "verdict: running"), "{out}{err}");
    assert!(
        out.contains("start: qm start: not finished after 1 s, killed"),
        "{out}"
    );
    assert!(out.contains("late"), "{out}");
}

#[test]
fn guest_that_settles_takes_seconds_and_not_the_whole_timeout() {
    let host = Host::running();
    host.write_policy("settle_seconds = 300\n");
    let began = Instant::now();
    assert_eq!(host.send("cycle").0, 0);
    assert!(began.elapsed() >= Duration::from_secs(3));
    assert!(began.elapsed() < Duration::from_secs(100));
}

#[test]
fn silent_monitor_is_asked_once_and_the_answer_comes_in_time() {
    let host = Host::running();
    host.set("monitor-hangs", "");
    host.set("hang-pending", "");
    for verb in ["vitals", "status"] {
        let began = Instant::now();
        let (code, out, _) = host.send(verb);
        assert_eq!((code, last(&out)), (0, "verdict: monitor-dead"));
        let took = began.elapsed();
        // It takes 4.5 s on an idle machine.
        assert!(took < Duration::from_secs(12), "{verb}: {took:?}");
    }
}
