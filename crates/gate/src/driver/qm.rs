//! Proxmox VE: `qm` for changes, the kernel and QEMU's own monitor for the truth.
//!
//! `qm status` says `running` of a hung QEMU, and `qm stop` may exit with 0 beside a QEMU that can't
//! be killed, after it has removed its pid file. So neither is believed: the process is found by its
//! control group, else by its pid file, else by what was seen before; and the monitor is asked
//! directly. `qm pending` tells the rest: it prints the whole configuration, with lock and changes.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Action, Driver, Evidence, Failure, Lock, Probe, Process, Qemu, proc, qmp};
use crate::child;
use crate::policy::{Paths, Policy};
use crate::text;

/// Largest picture of a screen that is read: 3840 × 2160 in three bytes each.
const PICTURE: u64 = 32 << 20;

/// The one guest of the policy, on Proxmox VE.
#[derive(Debug)]
pub struct QmDriver {
    guest: String,
    paths: Paths,
    known: Option<Process>,
}

impl QmDriver {
    /// The driver for the guest that `policy` names.
    #[must_use]
    pub fn new(policy: &Policy) -> QmDriver {
        QmDriver {
            guest: policy.guest.clone(),
            paths: policy.paths.clone(),
            known: None,
        }
    }

    fn qm(&self, verb: &str, limit: Duration) -> Result<String, String> {
        child::run(&self.paths.qm, &[verb, &self.guest], limit)
            .map_err(|words| format!("qm {verb}: {words}"))
    }

    /// The task of the hypervisor that works on the guest, if one does. A line of the list is
    /// `UPID:node:pid:pstart:start:type:guest:user:` in hexadecimal, and longer once it has ended.
    fn task(&self, limit: Duration) -> Option<String> {
        let list = child::file(&self.paths.tasks, limit).ok()?;
        let running = |line: &str| line.split(' ').count() < 3;
        list.lines().filter(|line| running(line)).find_map(|line| {
            let task: Vec<&str> = line.split(':').collect();
            let [_, _, pid, _, start, kind, guest, user, ..] = task.as_slice() else {
                return None;
            };
            let [pid, start] = [pid, start].map(|hex| u64::from_str_radix(hex, 16).ok());
            // A backup of many guests names none.
            let ours = *guest == self.guest || (guest.is_empty() && *kind == "vzdump");
            let since = text::utc(UNIX_EPOCH + Duration::from_secs(start?));
            ours.then_some(format!("{kind} of {user}, process {}, since {since}", pid?))
        })
    }
}

impl Driver for QmDriver {
    fn find(&mut self) -> Qemu {
        let scope = format!("{}.scope/cgroup.procs", self.guest);
        let pid_file = format!("{}.pid", self.guest);
        let places = [
            self.paths.cgroup_dir.join(scope),
            self.paths.run_dir.join(pid_file),
        ];
        proc::find(&places, &format!("-id\0{}\0", self.guest), &mut self.known)
    }

    fn ask(&mut self, command: &str, arguments: Value, limit: Duration) -> Result<Value, String> {
        let socket = self.paths.run_dir.join(format!("{}.qmp", self.guest));
        qmp::ask(&socket, command, arguments, limit)
    }

    fn settings(&mut self, seen: &mut Evidence, limit: Duration) {
        let config = self.qm("pending", limit).unwrap_or_else(|why| {
            seen.notes.push(why);
            String::new()
        });
        if let Some(kind) = config
            .lines()
            .find_map(|line| line.strip_prefix("cur lock: "))
        {
            let task = self.task(limit);
            seen.lock = Some(Lock {
                kind: kind.to_owned(),
                // Only a suspension that was cut short by the end of QEMU leaves this one.
                ours: kind == "suspending" && task.is_none(),
                holder: task.unwrap_or("no task of this host works on the guest".to_owned()),
            });
        }
        let change = |line: &str| match line.split_once(' ') {
            Some(("new", change)) => Some(change.to_owned()),
            Some(("del", change)) => Some(format!("{change} (removed)")),
            _ => None,
        };
        seen.staged = config.lines().filter_map(change).take(50).collect();
        // The file is there only where high availability was ever set up.
        let resources = child::file(&self.paths.ha_resources, limit).unwrap_or_default();
        let entry = format!("vm: {}", self.guest);
        seen.ha_managed = resources.lines().any(|line| line.trim_end() == entry);
    }

    fn act(&mut self, action: Action, limit: Duration) -> Result<String, Failure> {
        let verb = match action {
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Reset => "reset",
            Action::Resume => "resume",
            Action::Unlock => "unlock",
        };
        self.qm(verb, limit).map_err(classify)
    }

    fn screen(&mut self, limit: Duration) -> Result<Vec<u8>, String> {
        let file = self.paths.gate_dir.join(&self.guest).join("screen.ppm");
        let dump = self.ask("screendump", json!({ "filename": file }), limit);
        let picture = dump.and_then(|_| child::bytes(&file, PICTURE, limit));
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

/// What kind of failure `qm` tells of: its exit code says only that it is one.
fn classify(message: String) -> Failure {
    // Held for half a minute by the clean-up after a QEMU that crashed or was killed.
    let is_busy = message.contains("can't lock file");
    let named = message
        .split_once("VM is locked (")
        .and_then(|(_, rest)| rest.split_once(')'));
    let lock = named
        .map(|(lock, _)| lock)
        .or(is_busy.then_some("another task holds it"));
    Failure {
        passing: is_busy || message.contains("timeout waiting on systemd"),
        lock: lock.map(str::to_owned),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_and_a_passing_failure_are_told_from_the_words() {
        let lock = |text: &str| classify(text.to_owned()).lock;
        assert_eq!(
            lock("qm stop: VM is locked (backup) (exit code 255)").as_deref(),
            Some("backup")
        );
        let flock = "can't lock file '/var/lock/qemu-server/lock-102.conf' - got timeout";
        assert_eq!(lock(flock).as_deref(), Some("another task holds it"));
        assert_eq!(lock("VM 102 not running"), None);
        assert!(classify("timeout waiting on systemd".to_owned()).passing);
    }
}
