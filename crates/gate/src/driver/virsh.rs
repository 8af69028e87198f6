//! libvirt: `virsh` for changes and for the monitor, the kernel for the truth.
//!
//! libvirtd holds QEMU's only monitor, so that is asked through it; everything else that is believed
//! comes from files: QEMU's pid file, `/proc`, and what libvirt wrote down of the domain. So a
//! libvirtd that hangs does not hide whether the guest has a process. `virsh` says success for a
//! reboot or shutdown that a panicked guest ignores: neither is used.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Action, Driver, Evidence, Failure, Probe, Process, Qemu, proc};
use crate::child;
use crate::policy::{Paths, Policy};

/// Largest picture of a screen that is read.
const PICTURE: u64 = 32 << 20;
/// How long libvirtd may take to greet, and to notice that a QEMU has ended.
const DAEMON: Duration = Duration::from_secs(3);

/// The one domain of the policy, under libvirt.
#[derive(Debug)]
pub struct VirshDriver {
    domain: String,
    connection: String,
    paths: Paths,
    known: Option<Process>,
}

impl VirshDriver {
    /// The driver for the domain that `policy` names.
    #[must_use]
    pub fn new(policy: &Policy) -> VirshDriver {
        VirshDriver {
            domain: policy.guest.clone(),
            connection: policy.connection.clone(),
            paths: policy.paths.clone(),
            known: None,
        }
    }

    /// `virsh VERB DOMAIN EXTRA…` to its end; its standard output.
    fn virsh(&self, verb: &str, extra: &[&str], limit: Duration) -> Result<String, String> {
        let fixed = ["-c", &self.connection, verb, &self.domain];
        child::run(&self.paths.virsh, &[&fixed, extra].concat(), limit)
            .map_err(|words| format!("virsh {verb}: {words}"))
    }

    /// What the file of the domain in `dir` says.
    fn definition(&self, dir: &Path, limit: Duration) -> Result<String, String> {
        child::file(&dir.join(format!("{}.xml", self.domain)), limit)
    }
}

impl Driver for VirshDriver {
    fn find(&mut self) -> Qemu {
        let pid_file = self
            .paths
            .libvirt_run_dir
            .join(format!("{}.pid", self.domain));
        proc::find(
            &[pid_file],
            &format!("\0guest={},", self.domain),
            &mut self.known,
        )
    }

    fn ask(&mut self, command: &str, arguments: Value, limit: Duration) -> Result<Value, String> {
        let mut request = json!({ "execute": command });
        if let (Some(request), false) = (request.as_object_mut(), arguments.is_null()) {
            request.insert("arguments".to_owned(), arguments);
        }
        let words = self.virsh("qemu-monitor-command", &[&request.to_string()], limit)?;
        let answer = serde_json::from_str::<Value>(&words);
        let mut answer = answer.map_err(|error| format!("{command}: not JSON: {error}"))?;
        match answer.get_mut("return") {
            Some(value) => Ok(value.take()),
            None => Err(format!("{command}: {}", answer["error"])),
        }
    }

    fn cut_off(&mut self) -> Option<String> {
        let fixed = ["-c", &self.connection, "uri"];
        let greeting = child::run(&self.paths.virsh, &fixed, DAEMON);
        greeting
            .err()
            .map(|words| format!("libvirtd does not answer: {words}"))
    }

    fn settings(&mut self, seen: &mut Evidence, limit: Duration) {
        // There is no definition of a running state for a guest that is off.
        let Ok(current) = self.definition(&self.paths.libvirt_run_dir, limit) else {
            return;
        };
        match self.definition(&self.paths.libvirt_config_dir, limit) {
            Ok(next) => seen.staged = staged(&current, &next),
            Err(why) => seen.notes.push(format!("staged configuration: {why}")),
        }
    }

    fn act(&mut self, action: Action, limit: Duration) -> Result<String, Failure> {
        let verb = match action {
            Action::Start => "start",
            // SIGTERM first, SIGKILL after 10 s.
            Action::Stop => "destroy",
            Action::Reset => "reset",
            Action::Resume => "resume",
            Action::Unlock => return Ok(String::new()),
        };
        self.virsh(verb, &[], limit)
            .or_else(|message| classify(action, message))
    }

    fn screen(&mut self, limit: Duration) -> Result<Vec<u8>, String> {
        let file = self.paths.gate_dir.join(&self.domain).join("screen.png");
        let name = file.to_string_lossy().into_owned();
        let saved = self.virsh("screenshot", &[&name], limit);
        let picture = saved.and_then(|_| child::bytes(&file, PICTURE, limit));
        // What is left of an earlier picture goes as well.
        let _ = fs::remove_file(&file);
        picture
    }

    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        let virsh = |words: &[&str]| {
            let fixed = ["-c", &self.connection];
            let words = [&fixed, words, &[self.domain.as_str()]].concat();
            let words = words.into_iter().map(str::to_owned).collect();
            Probe::Run(self.paths.virsh.clone(), words)
        };
        let log = format!("{}.log", self.domain);
        vec![
            ("virsh-domstate", virsh(&["domstate", "--reason"])),
            ("virsh-dominfo", virsh(&["dominfo"])),
            ("virsh-domjobinfo", virsh(&["domjobinfo"])),
            ("virsh-domblkstat", virsh(&["domblkstat", "--human"])),
            (
                "qemu-log",
                Probe::File(self.paths.libvirt_log_dir.join(log)),
            ),
            ("serial", Probe::File(self.paths.serial_log.clone())),
        ]
    }
}

/// What kind of failure `virsh` tells of: its exit code says only that it is one.
fn classify(action: Action, message: String) -> Result<String, Failure> {
    if action == Action::Stop && message.contains("domain is not running") {
        return Ok(message);
    }
    // A QEMU that was killed is noticed by libvirtd a moment later than by the kernel.
    let passing = action == Action::Start && message.contains("Domain is already active");
    if passing {
        thread::sleep(DAEMON / 3);
    }
    // The end of QEMU ends its jobs, so a job does not stand in the way of a stop.
    let held = message.split_once("cannot acquire state change lock");
    let lock = held.filter(|_| action != Action::Stop).map(|(_, holder)| {
        let holder = holder.trim_matches([' ', '(', ')']).split(')').next();
        format!("state change lock, {}", holder.unwrap_or_default())
    });
    Err(Failure {
        message,
        passing,
        lock,
    })
}

/// The settings of a guest that are given on one line each (memory, processors, …) and are another
/// in `next` than in `current`: what waits for a fresh QEMU. Devices are not compared, because
/// those of a running guest carry much that no definition has.
fn staged(current: &str, next: &str) -> Vec<String> {
    let has = |setting: &str| current.lines().any(|line| line.trim() == setting);
    let is_setting = |line: &&str| line.starts_with("  <") && line.contains("</");
    let settings = next.lines().filter(is_setting).map(str::trim);
    settings
        .filter(|setting| !has(setting))
        .map(plain)
        .take(50)
        .collect()
}

/// `<memory unit='KiB'>262144</memory>` as `memory: 262144`.
fn plain(element: &str) -> String {
    let (open, rest) = element.split_once('>').unwrap_or((element, ""));
    let name = open
        .trim_start_matches('<')
        .split(' ')
        .next()
        .unwrap_or_default();
    format!("{name}: {}", rest.split('<').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_of_a_stopped_domain_is_a_success_and_any_other_failure_is_none() {
        let words = "error: Failed to destroy domain 'victim'; error: Requested operation is not \
                     valid: domain is not running (exit code 1)";
        assert!(classify(Action::Stop, words.to_owned()).is_ok());
        assert!(classify(Action::Reset, words.to_owned()).is_err());
    }

    #[test]
    fn a_job_that_holds_the_domain_is_a_lock_but_for_a_stop() {
        let words = "error: Timed out during operation: cannot acquire state change lock \
                     (held by monitor=remoteDispatchDomainSuspend) (exit code 1)";
        let lock = |action| classify(action, words.to_owned()).unwrap_err().lock;
        assert_eq!(
            lock(Action::Reset).as_deref(),
            Some("state change lock, held by monitor=remoteDispatchDomainSuspend")
        );
        assert_eq!(lock(Action::Stop), None);
    }

    #[test]
    fn a_start_that_comes_before_libvirtd_noticed_the_end_of_qemu_passes() {
        let words = "error: Domain is already active (exit code 1)";
        assert!(
            classify(Action::Start, words.to_owned())
                .unwrap_err()
                .passing
        );
        assert!(
            !classify(Action::Resume, words.to_owned())
                .unwrap_err()
                .passing
        );
    }

    #[test]
    fn only_settings_that_wait_for_a_fresh_qemu_are_staged() {
        let current = "<domstatus>\n  <domain type='qemu' id='1'>\n    <memory unit='KiB'>196608</memory>\n\
                       \x20   <vcpu placement='static'>1</vcpu>\n  </domain>\n</domstatus>\n";
        let next = "<domain type='qemu'>\n  <memory unit='KiB'>262144</memory>\n\
                    \x20 <vcpu placement='static'>1</vcpu>\n  <devices>\n    <emulator>/x</emulator>\n";
        assert_eq!(staged(current, next), ["memory: 262144"]);
    }
}
