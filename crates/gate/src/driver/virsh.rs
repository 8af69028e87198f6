//! libvirt: `virsh` for changes and for the monitor, the kernel for everything else.
//!
//! libvirtd owns QEMU's only monitor, so the monitor is asked through it. All other evidence comes
//! from files: QEMU's pid file, `/proc`, and libvirt's files of the domain. So a hung libvirtd does
//! not hide whether the guest has a process. `virsh` reports success for a reboot or shutdown that a
//! panicked guest ignores, so neither is used.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::process::{self, PidSource};
use super::{
    Action, Driver, Evidence, Failure, Monitor, Probe, Process, Qemu, WayBack, domain_xml,
    guest_agent, host_prerequisites, qmp,
};
use crate::child::{self, ChildError, ChildOutput};
use crate::policy::{Paths, Policy};
use crate::{file, text};

/// Maximum size of a picture of the screen.
const PICTURE_MAX_BYTES: u64 = 32 << 20;
/// How long libvirtd may take to notice that a QEMU process has ended.
const LIBVIRTD_NOTICE_TIME: Duration = Duration::from_secs(1);
const GUEST_AGENT_TIMEOUT: Duration = Duration::from_secs(2);
/// The part of it that the agent itself gets, in seconds.
const GUEST_AGENT_TIMEOUT_OPTION: &str = "1";

/// The domain that the policy names, under libvirt.
#[derive(Debug, Clone)]
pub struct VirshDriver {
    domain: String,
    connection: String,
    paths: Paths,
    last_seen: Option<Process>,
}

impl VirshDriver {
    /// The driver for the domain that `policy` names.
    #[must_use]
    pub fn new(policy: &Policy) -> VirshDriver {
        VirshDriver {
            domain: policy.guest.clone(),
            connection: policy.connection.clone(),
            paths: policy.paths.clone(),
            last_seen: None,
        }
    }

    /// Runs `virsh VERB DOMAIN EXTRA…`.
    fn virsh(
        &self,
        verb: &str,
        extra: &[&str],
        timeout: Duration,
    ) -> Result<ChildOutput, ChildError> {
        let fixed = ["-c", &self.connection, verb, &self.domain];
        let result = child::run(&self.paths.virsh, &[&fixed, extra].concat(), timeout);
        result.map_err(|error| error.of_command(&format!("virsh {verb}")))
    }

    /// The content of the domain's file in `dir`, if it exists.
    fn definition(&self, dir: &Path, timeout: Duration) -> Result<Option<String>, String> {
        file::text(&dir.join(format!("{}.xml", self.domain)), timeout)
    }

    /// Adds whether the domain could be started again.
    fn add_way_back(&self, next: Option<&String>, evidence: &mut Evidence, timeout: Duration) {
        let info = match &evidence.monitor {
            Monitor::Unreachable(why) => Err(why.clone()),
            _ => match self.virsh("dominfo", &[], timeout) {
                Ok(output) => Ok(output.stdout),
                Err(error) => Err(error.message),
            },
        };
        let missing = next.and_then(|next| domain_xml::missing_drive(next, timeout));
        let proof = way_back(&self.domain, info, missing);
        evidence.way_back = proof.map_or_else(WayBack::Missing, WayBack::Proven);
        let dirs = [&self.paths.libvirt_run_dir, &self.paths.libvirt_log_dir];
        let dirs = dirs.map(PathBuf::as_path);
        let host = host_prerequisites::check(evidence.process(), &dirs, timeout);
        evidence.way_back.require(host);
    }

    /// Adds libvirt's job on the domain, and whether a backup has frozen the guest.
    fn add_job(&self, evidence: &mut Evidence, timeout: Duration) {
        match self.virsh("domjobinfo", &[], timeout) {
            Ok(output) => evidence.job = job(&output.stdout, SystemTime::now()),
            Err(error) => evidence.notes.push(error.message),
        }
        if evidence.job.is_some() {
            evidence.frozen = self.is_frozen(GUEST_AGENT_TIMEOUT.min(timeout));
        }
    }

    fn is_frozen(&self, timeout: Duration) -> Option<bool> {
        let request = qmp::request(guest_agent::FREEZE_STATUS, Value::Null).to_string();
        let extra = [&request, "--timeout", GUEST_AGENT_TIMEOUT_OPTION];
        let output = self.virsh("qemu-agent-command", &extra, timeout).ok()?;
        guest_agent::parse_status(&serde_json::from_str(&output.stdout).ok()?).ok()
    }
}

impl Driver for VirshDriver {
    fn find_qemu(&mut self) -> Qemu {
        let pid_file = format!("{}.pid", self.domain);
        let pid_file = PidSource::PidFile(self.paths.libvirt_run_dir.join(pid_file));
        let argument = format!("\0guest={},", self.domain);
        process::find(&[pid_file], &argument, &mut self.last_seen)
    }

    fn query_monitor(
        &mut self,
        command: &str,
        arguments: Value,
        timeout: Duration,
    ) -> Result<Value, String> {
        let request = qmp::request(command, arguments).to_string();
        let result = self.virsh("qemu-monitor-command", &[&request], timeout);
        let output = result.map_err(|error| error.message)?.stdout;
        let answer = serde_json::from_str::<Value>(&output);
        let mut answer = answer.map_err(|error| format!("{command}: not JSON: {error}"))?;
        match answer.get_mut("return") {
            Some(value) => Ok(value.take()),
            None => Err(format!("{command}: {}", answer["error"])),
        }
    }

    fn daemon_error(&mut self, timeout: Duration) -> Option<String> {
        let args = ["-c", &self.connection, "uri"];
        let error = child::run(&self.paths.virsh, &args, timeout).err()?;
        Some(format!("libvirtd does not answer: {}", error.message))
    }

    fn duplicate(&self) -> Option<Box<dyn Driver>> {
        Some(Box::new(self.clone()))
    }

    fn add_hypervisor_evidence(&mut self, evidence: &mut Evidence, timeout: Duration) {
        let next = self.definition(&self.paths.libvirt_config_dir, timeout);
        self.add_way_back(
            next.as_ref().ok().and_then(Option::as_ref),
            evidence,
            timeout,
        );
        // A guest that is off has no definition of its running state.
        let running = match self.definition(&self.paths.libvirt_run_dir, timeout) {
            Ok(Some(running)) => running,
            Ok(None) => return,
            Err(why) => return evidence.notes.push(format!("staged configuration: {why}")),
        };
        evidence.reset_ends_qemu = domain_xml::reset_ends_qemu(&running);
        match next {
            Ok(Some(next)) => evidence.staged = domain_xml::staged(&running, &next),
            Ok(None) => {}
            Err(why) => evidence.notes.push(format!("staged configuration: {why}")),
        }
        self.add_job(evidence, timeout);
    }

    fn perform(&mut self, action: Action, timeout: Duration) -> Result<String, Failure> {
        let verb = match action {
            Action::Start => "start",
            // Sends SIGTERM, and SIGKILL after 10 s.
            Action::Stop => "destroy",
            Action::Reset => "reset",
            Action::Resume => "resume",
            Action::Wake => "dompmwakeup",
            Action::Unlock => return Ok(String::new()),
        };
        let result = self.virsh(verb, &[], timeout).map(ChildOutput::combined);
        result.or_else(|error| classify(action, error))
    }

    fn screenshot(&mut self, timeout: Duration) -> Result<Vec<u8>, String> {
        let file = self.paths.gate_dir.join(&self.domain).join("screen.png");
        let name = file.to_string_lossy().into_owned();
        let saved = self.virsh("screenshot", &[&name], timeout);
        let saved = saved.map_err(|error| error.message);
        let picture = saved.and_then(|_| file::bytes(&file, PICTURE_MAX_BYTES, timeout));
        // If this failed, the file may be from an earlier attempt.
        let _ = fs::remove_file(&file);
        picture
    }

    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        let virsh = |words: &[&str]| {
            let words = [&["-c", &self.connection], words, &[&self.domain]].concat();
            let words = words.into_iter().map(str::to_owned).collect();
            Probe::Run(self.paths.virsh.clone(), words)
        };
        let log = self
            .paths
            .libvirt_log_dir
            .join(format!("{}.log", self.domain));
        vec![
            ("virsh-domstate", virsh(&["domstate", "--reason"])),
            ("virsh-dominfo", virsh(&["dominfo"])),
            // The only remains of a domain whose definition disappears with it.
            ("virsh-dumpxml", virsh(&["dumpxml"])),
            ("virsh-domjobinfo", virsh(&["domjobinfo"])),
            ("virsh-domblkstat", virsh(&["domblkstat", "--human"])),
            ("qemu-log", Probe::File(log)),
            ("serial", Probe::File(self.paths.serial_log.clone())),
        ]
    }
}

/// Derives the kind of failure from the message of `virsh`: its exit code does not tell.
fn classify(action: Action, error: ChildError) -> Result<String, Failure> {
    let failure = Failure::from(error);
    let message = &failure.message;
    if action == Action::Stop && message.contains("domain is not running") {
        return Ok(failure.message);
    }
    // libvirtd notices the end of a killed QEMU a moment later than the kernel.
    let transient = action == Action::Start && message.contains("Domain is already active");
    if transient {
        thread::sleep(LIBVIRTD_NOTICE_TIME);
    }
    // The end of QEMU ends its jobs, so no job prevents a stop.
    let held = message.split_once("cannot acquire state change lock");
    let lock = held.filter(|_| action != Action::Stop).map(|(_, holder)| {
        let holder = holder.trim_matches([' ', '(', ')']).split(')').next();
        format!("state change lock, {}", holder.unwrap_or_default())
    });
    Err(Failure {
        transient,
        lock,
        ..failure
    })
}

/// The job that `virsh domjobinfo` reports, as a sentence. Its lines are `Job type: Unbounded`,
/// `Operation: Backup`, `Time elapsed: 1234 ms`; the types `None` and `Completed` are no jobs.
fn job(info: &str, now: SystemTime) -> Option<String> {
    let value = |name: &str| {
        let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        Some(value.trim())
    };
    let kind = value("Job type").filter(|kind| !matches!(*kind, "None" | "Completed" | ""))?;
    let operation = value("Operation").unwrap_or(kind).to_lowercase();
    let elapsed = value("Time elapsed").and_then(|words| words.split(' ').next()?.parse().ok());
    let since = elapsed.and_then(|ms| now.checked_sub(Duration::from_millis(ms)));
    let since = since.map_or(String::new(), |at| format!(", since {}", text::utc(at)));
    let job = format!("{operation} of libvirt{since}");
    Some(text::visible(&job, 200))
}

/// Whether libvirt could start the domain again, according to its answer to `dominfo` and the first
/// drive that is `missing`: what proves it, or why not.
fn way_back(
    domain: &str,
    info: Result<String, String>,
    missing: Option<String>,
) -> Result<String, String> {
    let info = info.map_err(|why| {
        format!(
            "libvirt does not report on the domain ({why}), and then it starts nothing; run `systemctl \
             restart libvirtd` on the host, which does not affect running guests"
        )
    })?;
    let persistent = info
        .lines()
        .find_map(|line| line.strip_prefix("Persistent:"));
    match (persistent.map(str::trim), missing) {
        (Some("yes"), None) => {
            Ok("libvirt answers and keeps a definition of the domain".to_owned())
        }
        (Some("yes"), Some(drive)) => Err(format!(
            "its definition names {drive}, which does not exist; restore it, or remove it with `virsh \
             edit {domain}`"
        )),
        (Some("no"), _) => Err(format!(
            "the domain is transient, and its definition disappears when it ends; run `virsh dumpxml \
             {domain} >{domain}.xml && virsh define {domain}.xml` on the host to keep it"
        )),
        _ => Err(format!(
            "`virsh dominfo {domain}` does not report whether libvirt keeps a definition; run it on the \
             host to see why"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_of_a_stopped_domain_succeeds_and_other_failures_do_not() {
        let words = "error: Failed to destroy domain 'victim'; error: Requested operation is not \
                     valid: domain is not running (exit code 1)";
        assert!(classify(Action::Stop, words.to_owned().into()).is_ok());
        assert!(classify(Action::Reset, words.to_owned().into()).is_err());
    }

    #[test]
    fn job_that_locks_the_domain_is_a_lock_except_for_a_stop() {
        let words = "error: Timed out during operation: cannot acquire state change lock \
                     (held by monitor=remoteDispatchDomainSuspend) (exit code 1)";
        let lock = |action| classify(action, words.to_owned().into()).unwrap_err().lock;
        assert_eq!(
            lock(Action::Reset).as_deref(),
            Some("state change lock, held by monitor=remoteDispatchDomainSuspend")
        );
        assert_eq!(lock(Action::Stop), None);
    }

    #[test]
    fn start_before_libvirtd_noticed_the_end_of_qemu_is_transient() {
        let words = "error: Domain is already active (exit code 1)";
        assert!(
            classify(Action::Start, words.to_owned().into())
                .unwrap_err()
                .transient
        );
        assert!(
            !classify(Action::Resume, words.to_owned().into())
                .unwrap_err()
                .transient
        );
    }

    #[test]
    fn job_is_reported_with_its_start_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let info = "Job type:         Unbounded   \nOperation:        Outgoing migration\n\
                    Time elapsed:     10000        ms\n";
        assert_eq!(
            job(info, now).as_deref(),
            Some("outgoing migration of libvirt, since 1970-01-01T00:01:30Z")
        );
        assert_eq!(job("Job type:         None        \n\n", now), None);
        assert_eq!(job("", now), None);
    }
}
