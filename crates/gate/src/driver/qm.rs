//! Proxmox VE: `qm` for changes, the kernel and QEMU's own monitor for the truth.
//!
//! `qm status` says `running` of a hung QEMU, and `qm stop` may exit with 0 beside a QEMU that can't
//! be killed, after it has removed its pid file. So the process is found by pid file, else by its
//! control group, else by the number and start time seen before; and the monitor is asked directly.

mod forensics;

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use breakglass_verbs::Verb;

use super::{Driver, Evidence, Failure, Monitor, Process, Qemu, proc, qmp};
use crate::child::{self, Bounds};
use crate::limits::Limits;
use crate::output::Output;
use crate::policy::Policy;
use crate::probe::Probe;
use crate::text;
use crate::utc;

/// Bytes kept of what `qm` prints.
const OUTPUT: usize = 256 * 1024;
/// How long the monitor may take for its run state: a healthy one needs a millisecond.
const MONITOR: Duration = Duration::from_secs(3);

/// The one guest of the policy, on Proxmox VE.
#[derive(Debug)]
pub struct QmDriver {
    guest: String,
    qm: PathBuf,
    run_dir: PathBuf,
    cgroup_dir: PathBuf,
    ha_resources: PathBuf,
    lock_file: PathBuf,
    limits: Limits,
    /// The QEMU process seen last: `qm` forgets one that it could not kill.
    known: Option<Process>,
    lock: Option<File>,
}

impl QmDriver {
    /// The driver for the guest that `policy` names.
    #[must_use]
    pub fn new(policy: &Policy) -> QmDriver {
        QmDriver {
            guest: policy.guest.clone(),
            qm: policy.qm.clone(),
            run_dir: policy.run_dir.clone(),
            cgroup_dir: policy.cgroup_dir.clone(),
            ha_resources: policy.ha_resources.clone(),
            lock_file: policy.lock_file.clone(),
            limits: policy.limits,
            known: None,
            lock: None,
        }
    }

    /// `qm VERB GUEST EXTRA…` to its end; its standard output.
    fn qm(&self, verb: &str, extra: &[&str], deadline: Duration) -> Result<String, String> {
        let args = [&[verb, self.guest.as_str()], extra].concat();
        child::run(
            &self.qm,
            &args,
            Bounds {
                deadline,
                bytes: OUTPUT,
            },
        )
        .map_err(|error| format!("{} can't be started: {error}", self.qm.display()))?
        .success()
    }

    fn change(&self, verb: &str, deadline: Duration, out: &mut dyn Output) -> Result<(), Failure> {
        match self.qm(verb, &[], deadline) {
            Ok(words) => {
                for line in words.lines() {
                    out.line(&format!("qm {verb}: {}", text::visible(line, 400)));
                }
                Ok(())
            }
            Err(words) => Err(classify(format!("qm {verb}: {words}"))),
        }
    }

    fn find(&mut self) -> Result<Option<Process>, String> {
        let scope = format!("{}.scope", self.guest);
        let places = [
            self.run_dir.join(format!("{}.pid", self.guest)),
            self.cgroup_dir.join(scope).join("cgroup.procs"),
        ];
        for place in places {
            let pid = proc::first_pid(&place).map_err(|e| format!("{}: {e}", place.display()))?;
            if let Some(pid) = pid.filter(|pid| proc::is_qemu_of(&self.guest, *pid))
                && let Some(process) = proc::look(pid)?
            {
                self.known = Some(process);
                return Ok(Some(process));
            }
        }
        let Some(known) = self.known else {
            return Ok(None);
        };
        let now = proc::look(known.pid)?;
        Ok(now.filter(|now| now.started == known.started))
    }

    fn socket(&self) -> PathBuf {
        self.run_dir.join(format!("{}.qmp", self.guest))
    }

    fn run_state(&self) -> Monitor {
        let asked = qmp::Session::open(&self.socket(), MONITOR.min(self.limits.ask))
            .and_then(|mut session| session.ask("query-status"));
        match asked {
            Ok(answer) => match answer.get("status").and_then(serde_json::Value::as_str) {
                Some(state) => Monitor::Says(state.to_owned()),
                None => Monitor::Silent("its answer has no run state".to_owned()),
            },
            Err(why) => Monitor::Silent(why),
        }
    }

    fn is_ha_managed(&self) -> bool {
        let Ok(resources) = fs::read_to_string(&self.ha_resources) else {
            return false;
        };
        let entry = format!("vm: {}", self.guest);
        resources.lines().any(|line| line.trim_end() == entry)
    }
}

impl Driver for QmDriver {
    fn claim(&mut self, verb: Verb) -> Result<(), String> {
        let opened = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.lock_file);
        // Without a usable lock file the verb still runs: power is never blocked by bookkeeping,
        // and `qm` serialises its own commands.
        let Ok(mut file) = opened else { return Ok(()) };
        match file.try_lock() {
            Ok(()) => {
                let since = utc::rfc3339(SystemTime::now());
                // The holder's name is a courtesy; the lock itself is the kernel's.
                let _ = file.rewind().and_then(|()| file.set_len(0));
                let _ = write!(file, "{verb} runs since {since}");
                self.lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(200).read_to_string(&mut holder);
                Err(if holder.is_empty() {
                    "another verb runs".to_owned()
                } else {
                    holder
                })
            }
            Err(TryLockError::Error(_)) => Ok(()),
        }
    }

    fn glance(&mut self) -> Evidence {
        let (qemu, monitor) = match self.find() {
            Ok(None) => (Qemu::Absent, Monitor::NotAsked),
            Ok(Some(process)) => (Qemu::Alive(process), self.run_state()),
            Err(why) => (Qemu::Unseen(why), Monitor::NotAsked),
        };
        Evidence {
            qemu,
            monitor,
            ha_managed: self.is_ha_managed(),
            ..Evidence::default()
        }
    }

    fn evidence(&mut self) -> Evidence {
        let this = &*self;
        let ask = |verb| this.qm(verb, &[], this.limits.ask);
        // Each takes half a second of Perl's start: together.
        let [status, config, pending] = thread::scope(|scope| {
            ["status", "config", "pending"]
                .map(|verb| scope.spawn(move || ask(verb)))
                .map(|asked| {
                    asked
                        .join()
                        .unwrap_or_else(|_| Err("the question itself failed".to_owned()))
                })
        });
        let mut seen = self.glance();
        match config {
            Ok(config) => seen.lock = value(&config, "lock"),
            Err(why) => seen.notes.push(format!("qm config: {why}")),
        }
        match pending {
            Ok(pending) => seen.staged = staged(&pending),
            Err(why) => seen.notes.push(format!("qm pending: {why}")),
        }
        seen.notes.push(match status {
            Ok(words) => format!("qm says {}", words.trim()),
            Err(why) => format!("qm status: {why}"),
        });
        seen
    }

    fn probes(&mut self, sink: &mut dyn FnMut(Probe)) {
        let process = self.find().ok().flatten();
        forensics::capture(self, process, sink);
    }

    fn start(&mut self, out: &mut dyn Output) -> Result<(), Failure> {
        self.change("start", self.limits.start, out)
    }

    fn stop(&mut self, out: &mut dyn Output) -> Result<(), Failure> {
        self.change("stop", self.limits.stop, out)
    }

    fn reset(&mut self, out: &mut dyn Output) -> Result<(), Failure> {
        self.change("reset", self.limits.ask, out)
    }
}

/// What kind of failure `qm` tells of: its exit code says only that it is one.
fn classify(message: String) -> Failure {
    let named = message
        .split_once("VM is locked (")
        .and_then(|(_, rest)| rest.split_once(')'));
    let lock = match named {
        Some((lock, _)) => Some(lock.to_owned()),
        None if message.contains("can't lock file") => Some("another task holds it".to_owned()),
        None => None,
    };
    Failure {
        passing: message.contains("timeout waiting on systemd"),
        lock,
        message,
    }
}

/// The value of `key` in lines of `key: value`.
fn value(config: &str, key: &str) -> Option<String> {
    config
        .lines()
        .find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(": ")?.to_owned()))
}

/// The changes that wait for a fresh QEMU process, from lines of `cur|new|del key: value`.
fn staged(pending: &str) -> Vec<String> {
    let change = |line: &str| {
        let deleted = line
            .strip_prefix("del ")
            .map(|key| format!("{key} (removed)"));
        line.strip_prefix("new ").map(str::to_owned).or(deleted)
    };
    pending.lines().filter_map(change).take(50).collect()
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

    #[test]
    fn staged_changes_are_read_and_current_values_are_not() {
        let pending = "cur cores: 1\nnew cores: 2\ndel net1\ncur name: new\n";
        assert_eq!(staged(pending), ["cores: 2", "net1 (removed)"]);
        assert_eq!(
            value("name: lock\nlock: backup\n", "lock").as_deref(),
            Some("backup")
        );
    }
}
