//! A hypervisor to connect to: a real sshd whose forced command is the real gate.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::images::{Images, images};
use super::libvirt::Libvirt;
use super::machine::Hypervisor;
use crate::gate::gate_binary;
use crate::sshd::Sshd;

/// Limits for a guest that boots in seconds, so that a test of a hang ends soon.
const LIMITS: &str = "ask_seconds = 10\nstop_seconds = 30\nterminate_seconds = 5\nstart_seconds = 60\n\
                      settle_seconds = 15\nforensics_seconds = 8\nsample_gap_seconds = 2\n";

/// Exit code of `ssh` if it lost its connection or got none.
const LOST: i32 = 255;

/// The host of a real guest. One key opens both: that of [`images`].
#[derive(Debug)]
pub struct LabHost<H: Hypervisor> {
    /// Its SSH server, which runs only the gate.
    pub sshd: Sshd,
    /// The guest with its hypervisor.
    pub guest: H,
    images: Images,
    dir: TempDir,
}

impl LabHost<Libvirt> {
    /// A host with libvirt, whose guest has booted.
    ///
    /// # Panics
    /// When a part of it does not come up.
    #[must_use]
    pub fn running() -> LabHost<Libvirt> {
        LabHost::over(Libvirt::running())
    }
}

impl<H: Hypervisor> LabHost<H> {
    /// A host for `guest`.
    ///
    /// # Panics
    /// Like [`LabHost::running`].
    #[must_use]
    pub fn over(guest: H) -> LabHost<H> {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("gate.toml");
        fs::write(&policy, policy_of(&guest.policy(), &dir)).unwrap();
        let command = format!("{} --policy {}", gate_binary().display(), policy.display());
        let images = images();
        LabHost {
            sshd: Sshd::forced(&images.public_key(), &command),
            guest,
            images,
            dir,
        }
    }

    /// The private key that opens host and guest.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.images.file("key")
    }

    /// The gate's policy file.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.dir.path().join("gate.toml")
    }

    /// The run file of the verb that the gate ran last; its last line begins with `=` when the verb
    /// has ended.
    #[must_use]
    pub fn run_file(&self) -> String {
        let guests = fs::read_dir(self.dir.path().join("runs"))
            .into_iter()
            .flatten();
        let files = guests.flatten().map(|guest| guest.path().join("run"));
        files
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect()
    }

    /// The directory of the gate's forensics bundles.
    #[must_use]
    pub fn forensics(&self) -> PathBuf {
        self.dir.path().join("forensics")
    }

    /// The gate's log of its decisions.
    #[must_use]
    pub fn host_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("journal")).unwrap_or_default()
    }

    /// The SSH client that sends `line` to the gate, its streams open.
    ///
    /// # Panics
    /// When there is no `ssh`.
    #[must_use]
    pub fn client(&self, line: &str) -> Command {
        let mut ssh = Command::new("ssh");
        // Prints only why a connection ended.
        ssh.args(["-F", "none", "-o", "LogLevel=ERROR", "-i"])
            .arg(self.key())
            .args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-p"])
            .args([&self.sshd.port.to_string(), "--"])
            .arg(format!("{}@127.0.0.1", self.sshd.user()))
            .arg(line)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        ssh
    }

    /// Sends `line` to the gate through SSH and waits for its end. If that fails, standard error has the
    /// messages of `ssh` and of sshd's log.
    ///
    /// # Panics
    /// When there is no `ssh`, or it was killed.
    #[must_use]
    pub fn send(&self, line: &str) -> Answer {
        let output = self.client(line).output().unwrap();
        let code = output.status.code().unwrap();
        let mut err = String::from_utf8_lossy(&output.stderr).into_owned();
        if code == LOST {
            err.push_str(&self.sshd.last_words());
        }
        let out = output.stdout;
        Answer { code, out, err }
    }

    /// Everything that a client needs, as JSON.
    #[must_use]
    pub fn addresses(&self) -> Value {
        let at = |port: u16, user: &str| json!({ "host": "127.0.0.1", "port": port, "user": user });
        json!({
            "host": at(self.sshd.port, &self.sshd.user()),
            "guest": at(self.guest.login().port, "root"),
            "key": self.key(),
            "forensics": self.forensics(),
        })
    }
}

/// The gate's answer to one line.
#[derive(Debug)]
pub struct Answer {
    /// Exit code of the gate, as `ssh` passes it on.
    pub code: i32,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
}

impl Answer {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// The last line's verdict; empty if there is none.
    #[must_use]
    pub fn verdict(&self) -> String {
        let text = self.text();
        let last = text.lines().last().unwrap_or_default();
        last.strip_prefix("verdict: ")
            .unwrap_or_default()
            .to_owned()
    }
}

fn policy_of(driver: &str, dir: &TempDir) -> String {
    let root = dir.path().display();
    format!(
        "{driver}forensics_dir = \"{root}/forensics\"\njournal_file = \"{root}/journal\"\n\
         syslog = \"{root}/log\"\ngate_dir = \"{root}/runs\"\n{LIMITS}"
    )
}
