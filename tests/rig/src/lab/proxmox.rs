//! A machine under Proxmox's `qm`: the stand-in, over plain QEMU.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::guest::Guest;
use super::login::Login;
use super::machine::{Hypervisor, Machine};

/// Guest 102 with its `qm`.
#[derive(Debug)]
pub struct Proxmox {
    guest: Guest,
}

impl Proxmox {
    /// A guest that is off.
    ///
    /// # Panics
    /// When its files can't be made.
    #[must_use]
    pub fn stopped() -> Proxmox {
        let proxmox = Proxmox {
            guest: Guest::stopped(),
        };
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        for name in ["qm", "qmp"] {
            fs::copy(assets.join(name), proxmox.dir().join(name)).unwrap();
        }
        fs::create_dir(proxmox.state("")).unwrap();
        crate::pve::healthy(&proxmox.state("pve"));
        symlink(proxmox.run_dir(), proxmox.state("run")).unwrap();
        symlink(proxmox.guest.start_script(), proxmox.state("machine")).unwrap();
        proxmox.set("id", "102\n");
        proxmox.set("config", "name: web01\n");
        proxmox.set("pending", "cur name: web01\n");
        proxmox
    }

    /// A guest that has booted.
    ///
    /// # Panics
    /// When it does not boot.
    #[must_use]
    pub fn running() -> Proxmox {
        let proxmox = Proxmox::stopped();
        assert!(proxmox.qm(&["start", "102"]).status.success());
        proxmox.login().wait();
        proxmox
    }

    /// The stand-in itself.
    #[must_use]
    pub fn tool(&self) -> PathBuf {
        self.dir().join("qm")
    }

    /// The directory of the guest's pid file and sockets.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.guest.run_dir()
    }

    /// Runs `qm` with an empty environment, as the gate does.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn qm(&self, args: &[&str]) -> Output {
        let mut command = Command::new(self.tool());
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Writes a file of the stand-in's state; its head comment lists their names.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn set(&self, name: &str, text: &str) {
        fs::write(self.state(name), text).unwrap();
    }

    /// Removes a file of the stand-in's state.
    pub fn unset(&self, name: &str) {
        let _ = fs::remove_file(self.state(name));
    }

    fn state(&self, name: &str) -> PathBuf {
        self.dir().join("qm-state").join(name)
    }
}

impl Machine for Proxmox {
    fn login(&self) -> &Login {
        self.guest.login()
    }

    fn dir(&self) -> &Path {
        self.guest.dir()
    }

    fn serial_log(&self) -> PathBuf {
        self.guest.serial_log()
    }

    fn freeze_disk(&self) {
        self.guest.freeze_disk();
    }

    fn thaw_disk(&self) {
        self.guest.thaw_disk();
    }

    fn pause(&self) {
        self.guest.pause();
    }
}

impl Hypervisor for Proxmox {
    fn policy(&self) -> String {
        let (dir, run_dir) = (self.dir().display(), self.run_dir());
        let (tool, run_dir) = (self.tool(), run_dir.display());
        format!(
            "driver = \"qm\"\nguest = 102\nqm = \"{}\"\nrun_dir = \"{run_dir}\"\n\
             cgroup_dir = \"{dir}/cgroup\"\npve_dir = \"{dir}/qm-state/pve\"\ntasks = \"{dir}/tasks\"\n\
             lock_dir = \"{dir}/qm-state/flock\"\n\
             serial_log = \"{run_dir}/102.serial0.log\"\n",
            tool.display()
        )
    }
}
