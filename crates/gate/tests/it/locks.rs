//! Locks on the guest: the configuration's lock, Proxmox's flock, and the task behind each.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::support::{Host, wait_for};

/// A process that holds the flock of guest 102, like a task. Dropping it ends it.
struct Task(Child);

impl Task {
    /// Holds the flock for at most `seconds`, and is listed as a task of type `kind`.
    fn holding(host: &Host, kind: &str, seconds: u32) -> Task {
        let dir = host.state().join("flock");
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("lock-102.conf");
        // `flock` executes `sleep`, which keeps the file open.
        let child = Command::new("flock")
            .args([
                "--no-fork",
                file.to_str().unwrap(),
                "sleep",
                &seconds.to_string(),
            ])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(|| File::open(&file).is_ok_and(|file| file.try_lock().is_err()));
        let task = Task(child);
        task.enlist(host, kind);
        task
    }

    fn enlist(&self, host: &Host, kind: &str) {
        let pid = self.0.id();
        let line = format!(
            "UPID:pve:{pid:08X}:{:08X}:{:08X}:{kind}:102:root@pam: 0\n",
            started(pid),
            SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
        );
        fs::write(host.path("tasks"), line).unwrap();
    }

    fn named(&self, kind: &str) -> String {
        format!("{kind} of root@pam, process {}, since 2", self.0.id())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The start time of a process, as the kernel counts it.
fn started(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    fields.split_whitespace().nth(19).unwrap().parse().unwrap()
}

fn last(out: &str) -> &str {
    out.lines().last().unwrap_or_default()
}

#[test]
fn lock_is_reported_with_its_holder_even_if_that_is_gone() {
    let host = Host::running();
    host.set("lock", "backup");
    let (_, out, _) = host.send("status");
    let no_holder = "lock: backup (no task on this host is working on the guest: `qm unlock 102` on the host removes it)";
    assert!(out.contains(no_holder), "{out}");
    // Two tasks that have ended, the first of another guest, and one whose process is gone.
    let tasks = "UPID:pve:000004D2:0001:6904D2B0:vzdump:103:root@pam: 1 6904D2C0 OK\n\
                 UPID:pve:00000999:0001:6904D2B0:qmstart:102:root@pam: 1 6904D2C0 OK\n\
                 UPID:pve:7FFFFFF0:0001:6904D2B0:vzdump:102:ada@pve: 0\n";
    fs::write(host.path("tasks"), tasks).unwrap();
    let (_, out, _) = host.send("status");
    let gone = "lock: backup (vzdump of ada@pve, process 2147483632, which is gone: `qm unlock 102` on the host";
    assert!(out.contains(gone) && !out.contains("job: "), "{out}");
    let task = Task(Command::new("sleep").arg("600").spawn().unwrap());
    task.enlist(&host, "vzdump");
    let (_, out, _) = host.send("status");
    assert!(
        out.contains(&format!("lock: backup ({}", task.named("vzdump"))),
        "{out}"
    );
    assert!(
        out.contains(&format!("job: {}", task.named("vzdump"))),
        "{out}"
    );
}

#[test]
fn job_is_reported_without_a_lock_and_a_console_is_not_a_job() {
    let host = Host::running();
    let task = Task(Command::new("sleep").arg("600").spawn().unwrap());
    let job = || {
        let (_, out, _) = host.send("vitals");
        let vitals: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        (vitals["job"].clone(), vitals["lock"].clone())
    };
    for kind in ["qmsnapshot", "vzdump", "qmigrate"] {
        task.enlist(&host, kind);
        let (job, lock) = job();
        assert!(
            job.as_str().unwrap().starts_with(&task.named(kind)),
            "{job}"
        );
        assert!(lock.is_null());
    }
    task.enlist(&host, "vncproxy");
    assert!(job().0.is_null());
    // A backup of all guests, which is working on another one now.
    let list = fs::read_to_string(host.path("tasks")).unwrap();
    fs::write(host.path("tasks"), list.replace("vncproxy:102", "vzdump:")).unwrap();
    assert!(job().0.is_null());
    host.set("lock", "backup");
    assert!(job().0.is_string());
}

#[test]
fn guest_agent_is_asked_about_frozen_file_systems_only_beside_a_lock() {
    let host = Host::running();
    let agent = crate::support::Agent::start(&host.state().join("run/102.qga"), "frozen");
    let frozen = || {
        let (_, out, _) = host.send("status --json");
        let last: serde_json::Value = serde_json::from_str(last(&out)).unwrap();
        last["frozen"].clone()
    };
    assert!(frozen().is_null());
    assert_eq!(agent.asked(), 0);
    host.set("lock", "backup");
    assert_eq!(frozen(), true);
    let (_, out, _) = host.send("status");
    assert!(
        out.contains("file systems: frozen, according to the guest agent"),
        "{out}"
    );
    agent.says("thawed");
    assert_eq!(frozen(), false);
    agent.says("");
    assert!(frozen().is_null());
}

#[test]
fn reset_waits_for_a_flock_and_names_its_holder() {
    let host = Host::running();
    host.write_policy("ask_seconds = 3\n");
    let task = Task::holding(&host, "qmshutdown", 600);
    let (_, out, _) = host.send("status");
    assert!(
        out.contains(&format!("held: by {}", task.named("qmshutdown"))),
        "{out}"
    );
    let (code, out, err) = host.send("reset");
    let verdict = format!("verdict: locked ({}", task.named("qmshutdown"));
    assert_eq!(code, 1, "{out}{err}");
    assert!(last(&out).starts_with(&verdict), "{out}{err}");
    assert!(err.contains("nothing was changed"), "{err}");
    assert_eq!(host.changes(), [""; 0]);
}

#[test]
fn flock_that_is_released_is_waited_for() {
    let host = Host::running();
    let task = Task::holding(&host, "qmsnapshot", 3);
    let (code, out, err) = host.send("reset");
    assert_eq!((code, last(&out)), (0, "verdict: running"), "{out}{err}");
    let line = format!("wait: {}", task.named("qmsnapshot"));
    assert!(out.contains(&line), "{out}");
}

#[test]
fn stop_and_cycle_overrule_a_pending_shutdown() {
    for verb in ["stop", "cycle"] {
        let host = Host::running();
        let task = Task::holding(&host, "qmshutdown", 600);
        host.set("shutdown", &task.0.id().to_string());
        let (code, out, err) = host.send(verb);
        assert_eq!(code, 0, "{out}{err}");
        assert_eq!(host.changes()[0], "stop 102 --overrule-shutdown 1");
    }
}

#[test]
fn old_qm_that_can_overrule_nothing_waits_for_the_shutdown() {
    let host = Host::running();
    host.set("old", "");
    let _task = Task::holding(&host, "qmshutdown", 5);
    let (code, out, err) = host.send("stop");
    assert_eq!((code, last(&out)), (0, "verdict: stopped"), "{out}{err}");
    let expected = ["stop 102 --overrule-shutdown 1", "stop 102"];
    assert_eq!(host.changes(), expected, "{out}");
}

#[test]
fn flock_that_is_not_released_forbids_the_stop_and_the_guest_is_left_alone() {
    let host = Host::running();
    host.write_policy("stop_seconds = 12\n");
    let task = Task::holding(&host, "qmsnapshot", 600);
    let before = host.pid();
    let (code, out, err) = host.send("cycle");
    assert_eq!(code, 1, "{out}{err}");
    let verdict = format!("verdict: locked ({}", task.named("qmsnapshot"));
    assert!(last(&out).starts_with(&verdict), "{out}{err}");
    assert!(!out.contains("terminate: ") && host.is_alive(), "{out}");
    assert_eq!(host.pid(), before);
}

#[test]
fn flock_holder_that_no_list_names_is_described_by_its_command() {
    let host = Host::running();
    let _task = Task::holding(&host, "qmsnapshot", 600);
    fs::remove_file(host.path("tasks")).unwrap();
    let (_, out, _) = host.send("status");
    assert!(out.contains("held: by sleep 600, process "), "{out}");
    drop(_task);
    let (_, out, _) = host.send("status");
    assert!(!out.contains("held: "), "{out}");
}

#[test]
fn unreadable_task_list_is_reported_and_no_holder_is_named() {
    let host = Host::running();
    host.set("lock", "backup");
    fs::create_dir(host.path("tasks")).unwrap();
    let (code, out, _) = host.send("status");
    assert_eq!((code, last(&out)), (0, "verdict: running"));
    assert!(
        out.contains("lock: backup (its holder is unknown: "),
        "{out}"
    );
    assert!(out.contains("note: tasks and lock: "), "{out}");
    let began = std::time::Instant::now();
    host.set("lock", "suspending");
    assert_ne!(
        host.send("stop").0,
        0,
        "the lock was removed although its holder is unknown"
    );
    assert!(began.elapsed() < Duration::from_secs(60));
}
