//! libvirt: `virsh` for changes and for the monitor, the kernel for the truth.
//!
//! libvirtd holds QEMU's only monitor, so that is asked through it; everything else that is believed
//! comes from files: QEMU's pid file, `/proc`, and what libvirt wrote down of the domain. So a
//! libvirtd that hangs does not hide whether the guest has a process. `virsh` says success for a
//! reboot or shutdown that a panicked guest ignores: neither is used.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::proc::Place;
use super::{
    Action, Driver, Evidence, Failure, Monitor, Probe, Process, Qemu, WayBack, ground, proc, qga,
};
use crate::child::{self, Broken, Said};
use crate::policy::{Paths, Policy};
use crate::{file, text};

/// Largest picture of a screen that is read.
const PICTURE: u64 = 32 << 20;
/// How long libvirtd may take to notice that a QEMU has ended.
const NOTICE: Duration = Duration::from_secs(1);
/// Longest wait for the guest agent, and one second of it as `virsh` wants to be told it.
const AGENT: (Duration, &str) = (Duration::from_secs(2), "1");

/// The one domain of the policy, under libvirt.
#[derive(Debug, Clone)]
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

    /// `virsh VERB DOMAIN EXTRA…` to its end; what it printed.
    fn virsh(&self, verb: &str, extra: &[&str], limit: Duration) -> Result<Said, Broken> {
        let fixed = ["-c", &self.connection, verb, &self.domain];
        let said = child::run(&self.paths.virsh, &[&fixed, extra].concat(), limit);
        said.map_err(|broken| broken.of(&format!("virsh {verb}")))
    }

    /// What the file of the domain in `dir` says, where it is there.
    fn definition(&self, dir: &Path, limit: Duration) -> Result<Option<String>, String> {
        file::text(&dir.join(format!("{}.xml", self.domain)), limit)
    }

    /// The job that libvirt does on the domain, and whether a backup froze the guest.
    fn occupied(&self, seen: &mut Evidence, limit: Duration) {
        match self.virsh("domjobinfo", &[], limit) {
            Ok(said) => seen.job = job(&said.out, SystemTime::now()),
            Err(broken) => seen.notes.push(broken.words),
        }
        if seen.job.is_some() {
            seen.frozen = self.is_frozen(AGENT.0.min(limit));
        }
    }

    fn is_frozen(&self, limit: Duration) -> Option<bool> {
        let words = json!({ "execute": qga::STATUS }).to_string();
        let asked = [&words, "--timeout", AGENT.1];
        let said = self.virsh("qemu-agent-command", &asked, limit).ok()?;
        qga::read(&serde_json::from_str(&said.out).ok()?).ok()
    }
}

impl Driver for VirshDriver {
    fn find(&mut self) -> Qemu {
        let pid_file = self
            .paths
            .libvirt_run_dir
            .join(format!("{}.pid", self.domain));
        proc::find(
            &[Place::PidFile(pid_file)],
            &format!("\0guest={},", self.domain),
            &mut self.known,
        )
    }

    fn ask(&mut self, command: &str, arguments: Value, limit: Duration) -> Result<Value, String> {
        let mut request = json!({ "execute": command });
        if let (Some(request), false) = (request.as_object_mut(), arguments.is_null()) {
            request.insert("arguments".to_owned(), arguments);
        }
        let said = self.virsh("qemu-monitor-command", &[&request.to_string()], limit);
        let answer = serde_json::from_str::<Value>(&said.map_err(|broken| broken.words)?.out);
        let mut answer = answer.map_err(|error| format!("{command}: not JSON: {error}"))?;
        match answer.get_mut("return") {
            Some(value) => Ok(value.take()),
            None => Err(format!("{command}: {}", answer["error"])),
        }
    }

    fn cut_off(&mut self, limit: Duration) -> Option<String> {
        let fixed = ["-c", &self.connection, "uri"];
        let greeting = child::run(&self.paths.virsh, &fixed, limit);
        greeting
            .err()
            .map(|broken| format!("libvirtd does not answer: {}", broken.words))
    }

    fn twin(&self) -> Option<Box<dyn Driver>> {
        Some(Box::new(self.clone()))
    }

    fn settings(&mut self, seen: &mut Evidence, limit: Duration) {
        let info = match &seen.monitor {
            Monitor::CutOff(why) => Err(why.clone()),
            _ => match self.virsh("dominfo", &[], limit) {
                Ok(said) => Ok(said.out),
                Err(broken) => Err(broken.words),
            },
        };
        let next = self.definition(&self.paths.libvirt_config_dir, limit);
        let lost = match &next {
            Ok(Some(next)) => lost(next, limit),
            _ => None,
        };
        let proof = way_back(&self.domain, info, lost);
        seen.way_back = proof.map_or_else(WayBack::Missing, WayBack::Seen);
        let dirs = [&self.paths.libvirt_run_dir, &self.paths.libvirt_log_dir];
        seen.way_back.needs(ground::is_firm(
            seen.process(),
            &dirs.map(PathBuf::as_path),
            limit,
        ));
        // There is no definition of a running state for a guest that is off.
        let current = match self.definition(&self.paths.libvirt_run_dir, limit) {
            Ok(Some(current)) => current,
            Ok(None) => return,
            Err(why) => return seen.notes.push(format!("staged configuration: {why}")),
        };
        seen.reset_ends = is_ended_by_a_reset(&current);
        match next {
            Ok(Some(next)) => seen.staged = staged(&current, &next),
            Ok(None) => {}
            Err(why) => seen.notes.push(format!("staged configuration: {why}")),
        }
        self.occupied(seen, limit);
    }

    fn act(&mut self, action: Action, limit: Duration) -> Result<String, Failure> {
        let verb = match action {
            Action::Start => "start",
            // SIGTERM first, SIGKILL after 10 s.
            Action::Stop => "destroy",
            Action::Reset => "reset",
            Action::Resume => "resume",
            Action::Wake => "dompmwakeup",
            Action::Unlock => return Ok(String::new()),
        };
        let said = self.virsh(verb, &[], limit).map(Said::all);
        said.or_else(|broken| classify(action, broken))
    }

    fn screen(&mut self, limit: Duration) -> Result<Vec<u8>, String> {
        let file = self.paths.gate_dir.join(&self.domain).join("screen.png");
        let name = file.to_string_lossy().into_owned();
        let saved = self.virsh("screenshot", &[&name], limit);
        let saved = saved.map_err(|broken| broken.words);
        let picture = saved.and_then(|_| file::bytes(&file, PICTURE, limit));
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
            // All that is left of a domain whose definition goes with it.
            ("virsh-dumpxml", virsh(&["dumpxml"])),
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
fn classify(action: Action, broken: Broken) -> Result<String, Failure> {
    let failure = Failure::from(broken);
    let message = &failure.message;
    if action == Action::Stop && message.contains("domain is not running") {
        return Ok(failure.message);
    }
    // A QEMU that was killed is noticed by libvirtd a moment later than by the kernel.
    let passing = action == Action::Start && message.contains("Domain is already active");
    if passing {
        thread::sleep(NOTICE);
    }
    // The end of QEMU ends its jobs, so a job does not stand in the way of a stop.
    let held = message.split_once("cannot acquire state change lock");
    let lock = held.filter(|_| action != Action::Stop).map(|(_, holder)| {
        let holder = holder.trim_matches([' ', '(', ')']).split(')').next();
        format!("state change lock, {}", holder.unwrap_or_default())
    });
    Err(Failure {
        passing,
        lock,
        ..failure
    })
}

/// The job that `virsh domjobinfo` tells of, as a sentence: lines such as `Job type: Unbounded`,
/// `Operation: Backup`, `Time elapsed: 1234 ms`. One of type `None` is none, and one of type
/// `Completed` was one.
fn job(info: &str, now: SystemTime) -> Option<String> {
    let value = |name: &str| {
        let line = info
            .lines()
            .find_map(|line| line.split_once(':').filter(|(key, _)| *key == name));
        line.map(|(_, value)| value.trim())
    };
    let kind = value("Job type").filter(|kind| !matches!(*kind, "None" | "Completed" | ""))?;
    let operation = value("Operation").unwrap_or(kind).to_lowercase();
    let elapsed = value("Time elapsed").and_then(|words| words.split(' ').next()?.parse().ok());
    let since = elapsed.and_then(|ms| now.checked_sub(Duration::from_millis(ms)));
    let since = since.map_or(String::new(), |at| format!(", since {}", text::utc(at)));
    Some(text::visible(
        &format!("{operation} of libvirt{since}"),
        200,
    ))
}

/// Whether libvirt could start the domain again, by its answer to `dominfo` and the first disk that
/// is `lost`: what proves it, or why not.
fn way_back(
    domain: &str,
    info: Result<String, String>,
    lost: Option<String>,
) -> Result<String, String> {
    let info = info.map_err(|why| {
        format!(
            "libvirt does not tell of the domain ({why}), and starts nothing then; run `systemctl \
             restart libvirtd` on the host, which guests survive"
        )
    })?;
    let persistent = info
        .lines()
        .find_map(|line| line.strip_prefix("Persistent:"));
    match (persistent.map(str::trim), lost) {
        (Some("yes"), None) => {
            Ok("libvirt answers and keeps a definition of the domain".to_owned())
        }
        (Some("yes"), Some(disk)) => Err(format!(
            "its definition names {disk}, which is not there; put it back, or take it out with `virsh \
             edit {domain}`"
        )),
        (Some("no"), _) => Err(format!(
            "the domain is transient, and its definition goes when it ends; run `virsh dumpxml \
             {domain} >{domain}.xml && virsh define {domain}.xml` on the host to keep it"
        )),
        _ => Err(format!(
            "`virsh dominfo {domain}` does not say whether libvirt keeps a definition; run it on the \
             host to see why"
        )),
    }
}

/// The first file or device of a definition's drives that is certain not to be there.
fn lost(definition: &str, limit: Duration) -> Option<String> {
    let sources = definition.lines().map(str::trim).filter_map(source);
    let sources: Vec<PathBuf> = sources.map(PathBuf::from).take(64).collect();
    let gone =
        |path: &PathBuf| fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let look = move || Ok(sources.into_iter().find(gone));
    let found = child::within(limit, "the drives", look).ok().flatten();
    found.map(|path| path.display().to_string())
}

/// The path in `<source file='/disk.img'/>`, where the start can't do without it.
fn source(line: &str) -> Option<&str> {
    let words = line.strip_prefix("<source ")?;
    let needed = !words.contains("startupPolicy=");
    let path = ["file='", "dev='"]
        .iter()
        .find_map(|key| words.split_once(key));
    let path = path?.1.split('\'').next()?;
    (needed && path.starts_with('/') && !path.contains('&')).then_some(path)
}

/// Whether the definition of a running domain has QEMU end at a reset.
fn is_ended_by_a_reset(current: &str) -> bool {
    let mut lines = current.lines().map(str::trim);
    lines.any(|line| line.starts_with("<on_reboot>") && line != "<on_reboot>restart</on_reboot>")
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
        assert!(classify(Action::Stop, words.to_owned().into()).is_ok());
        assert!(classify(Action::Reset, words.to_owned().into()).is_err());
    }

    #[test]
    fn a_job_that_holds_the_domain_is_a_lock_but_for_a_stop() {
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
    fn a_start_that_comes_before_libvirtd_noticed_the_end_of_qemu_passes() {
        let words = "error: Domain is already active (exit code 1)";
        assert!(
            classify(Action::Start, words.to_owned().into())
                .unwrap_err()
                .passing
        );
        assert!(
            !classify(Action::Resume, words.to_owned().into())
                .unwrap_err()
                .passing
        );
    }

    #[test]
    fn a_job_of_libvirts_is_told_with_its_begin_and_none_is_none() {
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

    #[test]
    fn only_settings_that_wait_for_a_fresh_qemu_are_staged() {
        let current = "<domstatus>\n  <domain type='qemu' id='1'>\n    <memory unit='KiB'>196608</memory>\n\
                       \x20   <vcpu placement='static'>1</vcpu>\n  </domain>\n</domstatus>\n";
        let next = "<domain type='qemu'>\n  <memory unit='KiB'>262144</memory>\n\
                    \x20 <vcpu placement='static'>1</vcpu>\n  <devices>\n    <emulator>/x</emulator>\n";
        assert_eq!(staged(current, next), ["memory: 262144"]);
    }
}
