//! Proxmox VE: `qm` for changes, the kernel and QEMU's own monitor for the truth.
//!
//! `qm status` says `running` of a hung QEMU, and `qm stop` may exit with 0 beside a QEMU that can't
//! be killed, after it has removed its pid file. So neither is believed: the process is found by its
//! control group, else by its pid file, else by what was seen before; and the monitor is asked
//! directly. `qm pending` tells the rest: it prints the whole configuration, with lock and changes.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::proc::Place;
use super::tasks::{self, Task};
use super::{
    Action, Driver, Evidence, Failure, Ha, Lock, Probe, Process, Qemu, ground, proc, pve, qga, qmp,
};
use crate::child::{self, Broken, Said};
use crate::file;
use crate::policy::{Paths, Policy};

/// Largest picture of a screen that is read: 3840 × 2160 in three bytes each.
const PICTURE: u64 = 32 << 20;
/// Longest wait for the guest agent.
const AGENT: Duration = Duration::from_secs(1);
/// Most warnings of `qm` that are told.
const WARNINGS: usize = 5;

/// The one guest of the policy, on Proxmox VE.
#[derive(Debug, Clone)]
pub struct QmDriver {
    guest: String,
    paths: Paths,
    known: Option<Process>,
    /// Asks only the kernel and the monitor.
    is_blind: bool,
}

impl QmDriver {
    /// The driver for the guest that `policy` names.
    #[must_use]
    pub fn new(policy: &Policy) -> QmDriver {
        QmDriver {
            guest: policy.guest.clone(),
            paths: policy.paths.clone(),
            known: None,
            is_blind: false,
        }
    }

    /// The same, for a host on which what `qm` needs hangs: it asks only the kernel and the monitor.
    pub(crate) fn blind(policy: &Policy) -> QmDriver {
        QmDriver {
            is_blind: true,
            ..QmDriver::new(policy)
        }
    }

    fn qm(&self, verb: &str, more: &[&str], limit: Duration) -> Result<Said, Broken> {
        let words = [&[verb, self.guest.as_str()], more].concat();
        let said = child::run(&self.paths.qm, &words, limit);
        said.map_err(|broken| broken.of(&format!("qm {verb}")))
    }

    /// The tasks that work on the guest.
    fn tasks(&self, limit: Duration) -> Result<Vec<Task>, String> {
        let list = file::text(&self.paths.tasks, limit)?.unwrap_or_default();
        let mut tasks = tasks::of_guest(&list, &self.guest);
        tasks.retain(Task::works);
        Ok(tasks)
    }

    /// The lock of the configuration, with who holds it.
    fn lock(&self, kind: &str, tasks: &Result<Vec<Task>, String>) -> Lock {
        let (alive, gone): (Vec<&Task>, Vec<&Task>) =
            tasks.iter().flatten().partition(|task| task.is_alive);
        let remedy = format!("`qm unlock {}` on the host lifts it", self.guest);
        let holder = match (tasks, alive.first(), gone.first()) {
            (Err(why), ..) => format!("who holds it can't be told: {why}"),
            (_, Some(task), _) => task.sentence(),
            _ if kind == "suspended" => "the guest sleeps on its disk: start wakes it".to_owned(),
            (.., Some(task)) => format!("{}: {remedy}", task.sentence()),
            _ => format!("no task of this host works on the guest: {remedy}"),
        };
        Lock {
            kind: kind.to_owned(),
            // Only a suspension that was cut short by the end of QEMU leaves this one.
            ours: kind == "suspending" && tasks.is_ok() && alive.is_empty(),
            holder,
        }
    }

    /// Whether the host has what every start needs, and whether a reset would end QEMU.
    fn ground(&self, seen: &mut Evidence, limit: Duration) {
        let dirs = [
            Some(self.paths.run_dir.as_path()),
            self.paths.tasks.parent(),
        ];
        let dirs: Vec<&Path> = dirs.into_iter().flatten().collect();
        let process = seen.process();
        seen.way_back.needs(ground::is_firm(process, &dirs, limit));
        seen.reset_ends = process.is_some_and(|p| proc::has_option(p.pid, "-no-reboot"));
    }

    /// Lock, task and flock, and whether a backup froze the guest.
    fn occupied(&self, config: &str, tasks: Result<Vec<Task>, String>, seen: &mut Evidence) {
        let mut lines = config.lines();
        let kind = lines.find_map(|line| line.strip_prefix("cur lock: "));
        seen.lock = kind.map(|kind| self.lock(kind, &tasks));
        // A backup of many guests is at work on this one only while it holds its lock.
        let ours = |task: &&Task| task.is_alive && (task.is_named || kind == Some("backup"));
        seen.job = tasks.iter().flatten().find(ours).map(Task::sentence);
        match tasks.and_then(|tasks| self.holder(&tasks)) {
            Ok(held) => seen.held = held,
            Err(why) => seen.notes.push(format!("tasks and lock: {why}")),
        }
        if seen.lock.is_some() || seen.job.is_some() {
            let socket = self.paths.run_dir.join(format!("{}.qga", self.guest));
            seen.frozen = qga::is_frozen(&socket, AGENT).ok();
        }
    }

    fn holder(&self, tasks: &[Task]) -> Result<Option<String>, String> {
        let lock = self
            .paths
            .lock_dir
            .join(format!("lock-{}.conf", self.guest));
        tasks::holder(&lock, tasks)
    }

    /// The end, also of a shutdown that is at work: who asks for the end does not want to wait for
    /// that one. An old `qm` does not know how to overrule it.
    fn stop(&self, limit: Duration) -> Result<Said, Broken> {
        let pending = |task: &Task| task.is_alive && task.kind == "qmshutdown";
        let tasks = self.tasks(limit).unwrap_or_default();
        if !tasks.iter().any(pending) {
            return self.qm("stop", &[], limit);
        }
        let overruled = self.qm("stop", &["--overrule-shutdown", "1"], limit);
        match overruled {
            Err(Broken { words, .. }) if words.contains("Unknown option") => {
                self.qm("stop", &[], limit)
            }
            ended => ended,
        }
    }
}

impl Driver for QmDriver {
    fn find(&mut self) -> Qemu {
        let scope = format!("{}.scope/cgroup.procs", self.guest);
        let pid_file = format!("{}.pid", self.guest);
        let places = [
            Place::Group(self.paths.cgroup_dir.join(scope)),
            Place::PidFile(self.paths.run_dir.join(pid_file)),
        ];
        proc::find(&places, &format!("-id\0{}\0", self.guest), &mut self.known)
    }

    fn ask(&mut self, command: &str, arguments: Value, limit: Duration) -> Result<Value, String> {
        let socket = self.paths.run_dir.join(format!("{}.qmp", self.guest));
        qmp::ask(&socket, command, arguments, limit)
    }

    fn twin(&self) -> Option<Box<dyn Driver>> {
        Some(Box::new(self.clone()))
    }

    fn held(&mut self) -> Option<String> {
        let tasks = self.tasks(AGENT).unwrap_or_default();
        self.holder(&tasks).ok().flatten()
    }

    fn settings(&mut self, seen: &mut Evidence, limit: Duration) {
        if self.is_blind {
            let why = "lock, staged configuration and high availability are not asked: earlier looks at them \
                       still hang in the kernel (`ls /etc/pve` on the host shows whether it answers)";
            seen.ha = Ha::Unknown("not asked".to_owned());
            return seen.notes.push(why.to_owned());
        }
        let pve_dir = &self.paths.pve_dir;
        // Side by side: each may need all of the time.
        let (pending, tasks, files) = thread::scope(|scope| {
            let files = scope.spawn(|| pve::Files::read(pve_dir, &self.guest, limit));
            let tasks = scope.spawn(|| self.tasks(limit));
            let broken = |_| Err("their reader failed".to_owned());
            (
                self.qm("pending", &[], limit),
                tasks.join().unwrap_or_else(broken),
                files.join().unwrap_or_default(),
            )
        });
        let answer = pending.as_ref();
        let answer = answer.map(|said| said.out.clone());
        files.tell(
            &self.guest,
            &answer.map_err(|broken| broken.words.clone()),
            seen,
        );
        self.ground(seen, limit);
        let config = configuration(pending, seen);
        self.occupied(&config, tasks, seen);
        let change = |line: &str| match line.split_once(' ') {
            Some(("new", change)) => Some(change.to_owned()),
            Some(("del", change)) => Some(format!("{change} (removed)")),
            _ => None,
        };
        seen.staged = config.lines().filter_map(change).take(50).collect();
    }

    fn act(&mut self, action: Action, limit: Duration) -> Result<String, Failure> {
        let verb = match action {
            Action::Start => "start",
            Action::Stop => return self.stop(limit).map(Said::all).map_err(classify),
            Action::Reset => "reset",
            // Wakes a guest that sleeps as well.
            Action::Resume | Action::Wake => "resume",
            Action::Unlock => "unlock",
        };
        self.qm(verb, &[], limit).map(Said::all).map_err(classify)
    }

    fn screen(&mut self, limit: Duration) -> Result<Vec<u8>, String> {
        let file = self.paths.gate_dir.join(&self.guest).join("screen.ppm");
        let dump = self.ask("screendump", json!({ "filename": file }), limit);
        let picture = dump.and_then(|_| file::bytes(&file, PICTURE, limit));
        // What is left of an earlier picture goes as well.
        let _ = fs::remove_file(&file);
        picture
    }

    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        let qm = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned());
            Probe::Run(self.paths.qm.clone(), words.collect())
        };
        vec![
            ("qm-status", qm(&["status", &self.guest, "--verbose"])),
            ("qm-pending", qm(&["pending", &self.guest])),
            ("serial", Probe::File(self.paths.serial_log.clone())),
        ]
    }
}

/// The configuration with what is staged, as `qm pending` prints it; empty where it does not.
fn configuration(pending: Result<Said, Broken>, seen: &mut Evidence) -> String {
    match pending {
        Ok(Said { out, warned }) => {
            let warnings = warned.lines().filter(|line| !line.trim().is_empty());
            let told = warnings.map(|line| format!("qm pending: {line}"));
            seen.notes.extend(told.take(WARNINGS));
            out
        }
        Err(broken) => {
            seen.notes.push(broken.words);
            String::new()
        }
    }
}

/// What kind of failure `qm` tells of: its exit code says only that it is one.
fn classify(broken: Broken) -> Failure {
    let failure = Failure::from(broken);
    let words = &failure.message;
    // Held for half a minute by the clean-up after a QEMU that crashed or was killed.
    let is_busy = words.contains("can't lock file");
    let named = words.split_once("VM is locked (");
    let named = named.and_then(|(_, rest)| rest.split_once(')'));
    let lock = named.map(|(lock, _)| lock);
    Failure {
        is_busy,
        passing: words.contains("timeout waiting on systemd"),
        lock: lock
            .or(is_busy.then_some("another task holds it"))
            .map(str::to_owned),
        ..failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_and_a_passing_failure_are_told_from_the_words() {
        let failed = |text: &str| classify(text.to_owned().into());
        let lock = |text: &str| failed(text).lock;
        assert_eq!(
            lock("qm stop: VM is locked (backup) (exit code 255)").as_deref(),
            Some("backup")
        );
        let flock = "can't lock file '/var/lock/qemu-server/lock-102.conf' - got timeout";
        assert_eq!(lock(flock).as_deref(), Some("another task holds it"));
        assert_eq!(lock("VM 102 not running"), None);
        assert!(failed(flock).is_busy && !failed(flock).passing);
        assert!(failed("timeout waiting on systemd").passing);
    }
}
