//! A hypervisor to connect to: a real sshd whose forced command is the real gate, over libvirt.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::images::{Images, images};
use super::libvirt::Libvirt;
use super::machine::Machine;
use crate::gate::gate_binary;
use crate::sshd::Sshd;

/// Limits for a guest that boots in seconds, so that a test of a hang ends soon.
const LIMITS: &str = "ask_seconds = 3\nstop_seconds = 20\nstart_seconds = 15\nsettle_seconds = 8\n\
                      sample_gap_seconds = 2\n";

/// The host of a real guest. One key opens both: that of [`images`].
#[derive(Debug)]
pub struct LabHost {
    /// Its SSH server, which knows nothing but the gate.
    pub sshd: Sshd,
    /// The guest, `victim`.
    pub guest: Libvirt,
    images: Images,
    dir: TempDir,
}

impl LabHost {
    /// A host whose guest has booted.
    ///
    /// # Panics
    /// When a part of it does not come up.
    #[must_use]
    pub fn running() -> LabHost {
        LabHost::over(Libvirt::running())
    }

    /// A host for `guest`.
    ///
    /// # Panics
    /// Like [`LabHost::running`].
    #[must_use]
    pub fn over(guest: Libvirt) -> LabHost {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("gate.toml");
        fs::write(&policy, policy_of(&guest, &dir)).unwrap();
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

    /// Where the gate keeps its forensics bundles.
    #[must_use]
    pub fn forensics(&self) -> PathBuf {
        self.dir.path().join("forensics")
    }

    /// The gate's own record of its decisions.
    #[must_use]
    pub fn journal(&self) -> String {
        fs::read_to_string(self.dir.path().join("journal")).unwrap_or_default()
    }

    /// Everything that a client needs to know, for programs.
    #[must_use]
    pub fn addresses(&self) -> Value {
        let at = |port: u16, user: &str| json!({ "host": "127.0.0.1", "port": port, "user": user });
        json!({
            "host": at(self.sshd.port, &self.sshd.user()),
            "guest": at(self.guest.login().port, "root"),
            "key": self.key(),
            "libvirt": self.guest.uri(),
            "domain": "victim",
            "forensics": self.forensics(),
        })
    }
}

fn policy_of(guest: &Libvirt, dir: &TempDir) -> String {
    let root = dir.path().display();
    let (uri, run_dir) = (guest.uri(), guest.run_dir());
    let run_dir = run_dir.display();
    format!(
        "driver = \"virsh\"\nguest = \"victim\"\nconnection = \"{uri}\"\nrun_dir = \"{run_dir}\"\n\
         forensics_dir = \"{root}/forensics\"\njournal_file = \"{root}/journal\"\n\
         syslog = \"{root}/log\"\nlock_file = \"{root}/lock\"\n{LIMITS}"
    )
}
