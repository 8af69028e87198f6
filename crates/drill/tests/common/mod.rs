//! A drill with the stock OpenSSH client in front of it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use breakglass_drill::{Scenario, Simulation};
use russh::keys::PublicKey;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running drill and a key to it; ends when dropped.
pub(crate) struct Drill {
    pub(crate) simulation: Simulation,
    pub(crate) dir: TempDir,
    pub(crate) key: PathBuf,
}

/// What `ssh` did.
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

    /// Tries a command in a guest that may not answer, for no longer than 3 s.
    pub(crate) async fn try_guest(&self) -> Ran {
        let port = self.simulation.guest_addr().port();
        self.connect(3, &self.key, port, &["true"]).await
    }

    /// Asks the gate.
    pub(crate) async fn gate(&self, words: &[&str]) -> Ran {
        self.ssh(&self.key, self.simulation.host_addr().port(), words)
            .await
    }

    /// The stock client, with pinned host keys.
    pub(crate) async fn ssh(&self, key: &Path, port: u16, words: &[&str]) -> Ran {
        self.connect(45, key, port, words).await
    }

    /// The same, which gives up when it has no connection after `limit` seconds.
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
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .expect("ssh ends in time");
        let output = output.expect("ssh is installed: apt-get install openssh-client");
        Ran {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }

    /// Waits until the guest lets a command in.
    pub(crate) async fn until_guest_answers(&self) {
        let answered = async {
            while self.try_guest().await.code != Some(0) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered)
            .await
            .expect("the guest answers in time");
    }
}

/// A new key pair in `dir`: the private key's file and the public key.
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
