//! Proxmox VE: `qm` for changes, the kernel and QEMU's own monitor for evidence.
//!
//! `qm status` prints `running` for a hung QEMU, and `qm stop` may exit with 0 although QEMU can't be
//! killed, after it has removed the pid file. So the gate trusts neither: it finds the process by its
//! control group, else by its pid file, else by the process that it saw before; and it asks the
//! monitor directly. `qm pending` prints the configuration, with lock and staged changes.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::ClusterFiles;
use super::process::{self, PidSource};
use super::tasks::{self, Task};
use super::{
    Action, Driver, Evidence, Failure, HighAvailability, Lock, Probe, Process, Qemu, guest_agent,
    host_prerequisites, qmp,
};
use crate::child::{self, ChildError, ChildOutput};
use crate::file;
use crate::policy::{Paths, Policy};

/// Maximum size of a picture of the screen: 3840 × 2160 pixels of three bytes.
const PICTURE_MAX_BYTES: u64 = 32 << 20;
/// Timeout for the guest agent, and for the list of tasks between two steps.
const QUICK_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of warnings of `qm` to report.
const WARNINGS_MAX: usize = 5;
/// Maximum number of staged settings to report.
const STAGED_MAX: usize = 50;

/// The guest that the policy names, on Proxmox VE.
#[derive(Debug, Clone)]
pub struct QmDriver {
    guest: String,
    paths: Paths,
    last_seen: Option<Process>,
    /// Whether it asks only the kernel and the monitor.
    kernel_only: bool,
}

impl QmDriver {
    /// The driver for the guest that `policy` names.
    #[must_use]
    pub fn new(policy: &Policy) -> QmDriver {
        QmDriver {
            guest: policy.guest.clone(),
            paths: policy.paths.clone(),
            last_seen: None,
            kernel_only: false,
        }
    }

    /// A driver that asks only the kernel and the monitor, for a host on which the files that `qm`
    /// needs hang.
    pub(crate) fn kernel_only(policy: &Policy) -> QmDriver {
        QmDriver {
            kernel_only: true,
            ..QmDriver::new(policy)
        }
    }

    /// Runs `qm VERB GUEST EXTRA…`.
    fn qm(&self, verb: &str, extra: &[&str], timeout: Duration) -> Result<ChildOutput, ChildError> {
        let args = [&[verb, self.guest.as_str()], extra].concat();
        let result = child::run(&self.paths.qm, &args, timeout);
        result.map_err(|error| error.of_command(&format!("qm {verb}")))
    }

    /// The tasks that are working on the guest.
    fn tasks(&self, timeout: Duration) -> Result<Vec<Task>, String> {
        let list = file::text(&self.paths.tasks, timeout)?.unwrap_or_default();
        let mut tasks = tasks::of_guest(&list, &self.guest);
        tasks.retain(Task::is_working);
        Ok(tasks)
    }

    /// The lock in the configuration, with its holder.
    fn lock(&self, kind: &str, tasks: &Result<Vec<Task>, String>) -> Lock {
        let (alive, gone): (Vec<&Task>, Vec<&Task>) =
            tasks.iter().flatten().partition(|task| task.is_alive);
        let remedy = format!("`qm unlock {}` on the host removes it", self.guest);
        let holder = match (tasks, alive.first(), gone.first()) {
            (Err(why), ..) => format!("its holder is unknown: {why}"),
            (_, Some(task), _) => task.sentence(),
            _ if kind == "suspended" => "the guest is hibernated: start wakes it".to_owned(),
            (.., Some(task)) => format!("{}: {remedy}", task.sentence()),
            _ => format!("no task on this host is working on the guest: {remedy}"),
        };
        Lock {
            kind: kind.to_owned(),
            // Only a suspension that the end of QEMU interrupted leaves this lock.
            is_left_over: kind == "suspending" && tasks.is_ok() && alive.is_empty(),
            holder,
        }
    }

    /// Adds whether the host has what every start needs, and whether a reset would end QEMU.
    fn add_host_evidence(&self, evidence: &mut Evidence, timeout: Duration) {
        let dirs = [
            Some(self.paths.run_dir.as_path()),
            self.paths.tasks.parent(),
        ];
        let dirs: Vec<&Path> = dirs.into_iter().flatten().collect();
        let process = evidence.process();
        let host = host_prerequisites::check(process, &dirs, timeout);
        evidence.way_back.require(host);
        evidence.reset_ends_qemu =
            process.is_some_and(|process| process::has_option(process.pid, "-no-reboot"));
    }

    /// Adds lock, task and flock, and whether a backup has frozen the guest.
    fn add_work_evidence(
        &self,
        config: &str,
        tasks: Result<Vec<Task>, String>,
        evidence: &mut Evidence,
    ) {
        let mut lines = config.lines();
        let kind = lines.find_map(|line| line.strip_prefix("cur lock: "));
        evidence.lock = kind.map(|kind| self.lock(kind, &tasks));
        // A backup of many guests is working on this one only while it holds its lock.
        let is_own = |task: &&Task| task.is_alive && (task.names_guest || kind == Some("backup"));
        evidence.job = tasks.iter().flatten().find(is_own).map(Task::sentence);
        match tasks.and_then(|tasks| self.find_flock_holder(&tasks)) {
            Ok(holder) => evidence.flock_holder = holder,
            Err(why) => evidence.notes.push(format!("tasks and lock: {why}")),
        }
        if evidence.lock.is_some() || evidence.job.is_some() {
            let socket = self.paths.run_dir.join(format!("{}.qga", self.guest));
            evidence.frozen = guest_agent::is_frozen(&socket, QUICK_TIMEOUT).ok();
        }
    }

    fn find_flock_holder(&self, tasks: &[Task]) -> Result<Option<String>, String> {
        let lock = format!("lock-{}.conf", self.guest);
        let lock = self.paths.lock_dir.join(lock);
        tasks::holder(&lock, tasks)
    }

    /// Stops the guest. Overrules a pending shutdown: its sender does not want to wait for it. An old
    /// `qm` does not have that option.
    fn stop(&self, timeout: Duration) -> Result<ChildOutput, ChildError> {
        let is_shutdown = |task: &Task| task.is_alive && task.kind == "qmshutdown";
        let tasks = self.tasks(timeout).unwrap_or_default();
        if !tasks.iter().any(is_shutdown) {
            return self.qm("stop", &[], timeout);
        }
        match self.qm("stop", &["--overrule-shutdown", "1"], timeout) {
            Err(error) if error.message.contains("Unknown option") => self.qm("stop", &[], timeout),
            result => result,
        }
    }
}

impl Driver for QmDriver {
    fn find_qemu(&mut self) -> Qemu {
        let scope = format!("{}.scope/cgroup.procs", self.guest);
        let pid_file = format!("{}.pid", self.guest);
        let sources = [
            PidSource::Cgroup(self.paths.cgroup_dir.join(scope)),
            PidSource::PidFile(self.paths.run_dir.join(pid_file)),
        ];
        let args = format!("-id\0{}\0", self.guest);
        process::find(&sources, &args, &mut self.last_seen)
    }

    fn query_monitor(
        &mut self,
        command: &str,
        arguments: Value,
        timeout: Duration,
    ) -> Result<Value, String> {
        let socket = self.paths.run_dir.join(format!("{}.qmp", self.guest));
        qmp::query(&socket, command, arguments, timeout)
    }

    fn duplicate(&self) -> Option<Box<dyn Driver>> {
        Some(Box::new(self.clone()))
    }

    fn flock_holder(&mut self) -> Option<String> {
        let tasks = self.tasks(QUICK_TIMEOUT).unwrap_or_default();
        self.find_flock_holder(&tasks).ok().flatten()
    }

    fn add_hypervisor_evidence(&mut self, evidence: &mut Evidence, timeout: Duration) {
        if self.kernel_only {
            let why = "lock, staged configuration and high availability were not asked for: earlier probes \
                       still hang in the kernel (`ls /etc/pve` on the host shows whether it answers)";
            evidence.ha = HighAvailability::Unknown("not asked".to_owned());
            return evidence.notes.push(why.to_owned());
        }
        let pve_dir = &self.paths.pve_dir;
        // At the same time, because each may need the whole timeout.
        let (pending, tasks, files) = thread::scope(|scope| {
            let files = scope.spawn(|| ClusterFiles::read(pve_dir, &self.guest, timeout));
            let tasks = scope.spawn(|| self.tasks(timeout));
            let failed = |_| Err("their reader failed".to_owned());
            (
                self.qm("pending", &[], timeout),
                tasks.join().unwrap_or_else(failed),
                files.join().unwrap_or_default(),
            )
        });
        let config = match &pending {
            Ok(output) => Ok(output.stdout.clone()),
            Err(error) => Err(error.message.clone()),
        };
        files.add_evidence(&self.guest, &config, evidence);
        self.add_host_evidence(evidence, timeout);
        add_notes(pending, evidence);
        let config = config.unwrap_or_default();
        self.add_work_evidence(&config, tasks, evidence);
        let change = |line: &str| match line.split_once(' ') {
            Some(("new", change)) => Some(change.to_owned()),
            Some(("del", change)) => Some(format!("{change} (removed)")),
            _ => None,
        };
        evidence.staged = config.lines().filter_map(change).take(STAGED_MAX).collect();
    }

    fn perform(&mut self, action: Action, timeout: Duration) -> Result<String, Failure> {
        let result = match action {
            Action::Start => self.qm("start", &[], timeout),
            Action::Stop => self.stop(timeout),
            Action::Reset => self.qm("reset", &[], timeout),
            // This also wakes a guest that sleeps.
            Action::Resume | Action::Wake => self.qm("resume", &[], timeout),
            Action::Unlock => self.qm("unlock", &[], timeout),
        };
        result.map(ChildOutput::combined).map_err(classify)
    }

    fn screenshot(&mut self, timeout: Duration) -> Result<Vec<u8>, String> {
        let file = self.paths.gate_dir.join(&self.guest).join("screen.ppm");
        let dump = self.query_monitor("screendump", json!({ "filename": file }), timeout);
        let picture = dump.and_then(|_| file::bytes(&file, PICTURE_MAX_BYTES, timeout));
        // If this failed, the file may be from an earlier attempt.
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

/// Adds the warnings or the error of `qm pending`.
fn add_notes(pending: Result<ChildOutput, ChildError>, evidence: &mut Evidence) {
    match pending {
        Ok(output) => {
            let warnings = output.stderr.lines().filter(|line| !line.trim().is_empty());
            let notes = warnings.map(|line| format!("qm pending: {line}"));
            evidence.notes.extend(notes.take(WARNINGS_MAX));
        }
        Err(error) => evidence.notes.push(error.message),
    }
}

/// Derives the kind of failure from the message of `qm`: its exit code does not tell.
fn classify(error: ChildError) -> Failure {
    let failure = Failure::from(error);
    let message = &failure.message;
    // The clean-up after a QEMU that crashed or was killed holds this lock for half a minute.
    let is_busy = message.contains("can't lock file");
    let named = message.split_once("VM is locked (");
    let named = named.and_then(|(_, rest)| rest.split_once(')'));
    let lock = named.map(|(lock, _)| lock);
    let lock = lock.or(is_busy.then_some("another task holds it"));
    Failure {
        is_busy,
        transient: message.contains("timeout waiting on systemd"),
        lock: lock.map(str::to_owned),
        ..failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_and_transient_failure_are_recognised_in_the_message() {
        let failed = |text: &str| classify(text.to_owned().into());
        let lock = |text: &str| failed(text).lock;
        assert_eq!(
            lock("qm stop: VM is locked (backup) (exit code 255)").as_deref(),
            Some("backup")
        );
        let flock = "can't lock file '/var/lock/qemu-server/lock-102.conf' - got timeout";
        assert_eq!(lock(flock).as_deref(), Some("another task holds it"));
        assert_eq!(lock("VM 102 not running"), None);
        assert!(failed(flock).is_busy && !failed(flock).transient);
        assert!(failed("timeout waiting on systemd").transient);
    }
}
