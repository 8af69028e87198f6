//! A simulated target and the stock OpenSSH client for it.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use breakglass_drill::{Scenario, Simulation};
use russh::keys::PublicKey;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// Maximum time that a test waits for anything.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A running target and a key for it; ends when dropped.
pub(crate) struct Drill {
    pub(crate) simulation: Simulation,
    pub(crate) dir: TempDir,
    pub(crate) key: PathBuf,
}

/// The result of `ssh`.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Drill {
    pub(crate) async fn start(scenario: Scenario) -> Drill {
        let dir = tempfile::tempdir().unwrap();
        let (key, public) = key(dir.path(), "operator");
        let simulation = Simulation::start(scenario, public, CancellationToken::new())
            .await
            .unwrap();
        let keys = simulation.host_keys();
        let line =
            |port, key: &PublicKey| format!("[127.0.0.1]:{port} {}\n", key.to_openssh().unwrap());
        let known = line(simulation.guest_addr().port(), &keys.guest)
            + &line(simulation.host_addr().port(), &keys.host);
        std::fs::write(dir.path().join("known_hosts"), known).unwrap();
        Drill {
            simulation,
            dir,
            key,
        }
    }

    /// Runs a command in the guest.
    pub(crate) async fn guest(&self, script: &str) -> Ran {
        self.ssh(&self.key, self.simulation.guest_addr().port(), &[script])
            .await
    }

    /// Runs a command in a guest that may not answer; gives up after 3 s.
    pub(crate) async fn try_guest(&self) -> Ran {
        let port = self.simulation.guest_addr().port();
        self.connect(3, &self.key, port, &["true"]).await
    }

    /// Sends a request to the gate.
    pub(crate) async fn gate(&self, words: &[&str]) -> Ran {
        self.ssh(&self.key, self.simulation.host_addr().port(), words)
            .await
    }

    /// Runs the stock client, with pinned host keys.
    pub(crate) async fn ssh(&self, key: &Path, port: u16, words: &[&str]) -> Ran {
        self.connect(45, key, port, words).await
    }

    /// Runs `ssh` with a connect timeout of `limit` seconds.
    async fn connect(&self, limit: u8, key: &Path, port: u16, words: &[&str]) -> Ran {
        let mut command = Command::new("ssh");
        command.args([
            "-F",
            "none",
            "-T",
            "-o",
            "BatchMode=yes",
            "-o",
            &format!("ConnectTimeout={limit}"),
            "-o",
            "IdentitiesOnly=yes",
        ]);
        command.arg("-o").arg(format!(
            "UserKnownHostsFile={}",
            self.dir.path().join("known_hosts").display()
        ));
        command.args([
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "LogLevel=ERROR",
            "-l",
            "breakglass",
        ]);
        command
            .arg("-i")
            .arg(key)
            .arg("-p")
            .arg(port.to_string())
            .arg("127.0.0.1");
        command
            .args(words)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(WAIT_TIMEOUT, command.output())
            .await
            .expect("ssh ends in time");
        let output = output.expect("ssh is installed: apt-get install openssh-client");
        Ran {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }

    /// Waits until the guest runs a command.
    pub(crate) async fn until_guest_answers(&self) {
        let answered = async {
            while self.try_guest().await.code != Some(0) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, answered)
            .await
            .expect("the guest answers in time");
    }
}

/// Creates a key pair in `dir`; returns the private key's file and the public key.
pub(crate) fn key(dir: &Path, name: &str) -> (PathBuf, PublicKey) {
    let file = dir.join(name);
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&file)
        .status();
    assert!(
        made.expect("ssh-keygen is installed: apt-get install openssh-client")
            .success()
    );
    let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
    (file, PublicKey::from_openssh(&public).unwrap())
}
