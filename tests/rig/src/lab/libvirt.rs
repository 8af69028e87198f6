//! A machine under a real libvirtd with private copies of the system's directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::images::{CMDLINE, Images, images, scripts};
use super::login::{Login, words};
use super::machine::{Hypervisor, Machine, kill_all, signal, until};

/// The domain `victim` and its libvirtd.
#[derive(Debug)]
pub struct Libvirt {
    dir: TempDir,
    daemon: Child,
    login: Login,
}

/// Whether the machine has a device through which the guest reports a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanicDevice {
    /// None, as on most hosts: a panicked guest stays `running`.
    Absent,
    /// A pvpanic device: a panicked guest becomes `crashed`.
    Present,
}

impl Libvirt {
    /// A domain that is off.
    ///
    /// # Panics
    /// When libvirtd does not come up; it needs root.
    #[must_use]
    pub fn stopped() -> Libvirt {
        Libvirt::defined(PanicDevice::Absent)
    }

    /// A domain that has booted.
    ///
    /// # Panics
    /// When libvirtd does not come up or the guest does not boot.
    #[must_use]
    pub fn running() -> Libvirt {
        let libvirt = Libvirt::stopped();
        libvirt.start();
        libvirt
    }

    /// A domain that is off, with or without a panic device.
    ///
    /// # Panics
    /// When libvirtd does not come up; it needs root.
    #[must_use]
    pub fn defined(panic_device: PanicDevice) -> Libvirt {
        let images = images();
        let dir = tempfile::tempdir().unwrap();
        fs::copy(images.file("disk.img"), dir.path().join("disk.img")).unwrap();
        // Keep libvirt's cache of QEMU's capabilities: filling it takes seconds.
        let cache = images.dir.with_file_name("libvirt-cache");
        fs::create_dir_all(&cache).unwrap();
        symlink(cache, dir.path().join("cache")).unwrap();
        let login = Login::on_a_free_port(&images);
        let daemon = spawn(dir.path());
        let libvirt = Libvirt { dir, daemon, login };
        libvirt.wait_for_daemon();
        let xml = libvirt.dir().join("victim.xml");
        fs::write(&xml, libvirt.definition(&images, panic_device)).unwrap();
        libvirt.virsh(&["define", xml.to_str().unwrap()]).unwrap();
        libvirt
    }

    /// Starts the domain and waits for its login.
    ///
    /// # Panics
    /// When it does not boot.
    pub fn start(&self) {
        self.virsh(&["start", "victim"]).unwrap();
        self.login.wait();
    }

    /// The connection URI of this libvirtd.
    #[must_use]
    pub fn uri(&self) -> String {
        format!(
            "qemu+unix:///system?socket={}/run/libvirt-sock",
            self.dir().display()
        )
    }

    /// QEMU's pid file: `/run/libvirt/qemu/victim.pid` of this libvirtd.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.dir().join("run/qemu/victim.pid")
    }

    /// Runs `virsh` for at most a minute; its standard output.
    ///
    /// # Errors
    /// Its output, if it failed or took too long.
    ///
    /// # Panics
    /// When there is no `virsh`.
    pub fn virsh(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("timeout")
            .args(["--signal=KILL", "60", "virsh", "-c", &self.uri()])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        words(&output)
    }

    /// Stops libvirtd by a signal: every `virsh` hangs.
    pub fn stop_daemon(&self) {
        signal(self.daemon.id(), Signal::STOP);
    }

    /// Undoes [`Libvirt::stop_daemon`].
    pub fn continue_daemon(&self) {
        signal(self.daemon.id(), Signal::CONT);
    }

    /// Kills libvirtd; the guest continues.
    ///
    /// # Panics
    /// When it can't be waited for.
    pub fn kill_daemon(&mut self) {
        let _ = self.daemon.kill();
        self.daemon.wait().unwrap();
    }

    /// Starts libvirtd again after [`Libvirt::kill_daemon`].
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart_daemon(&mut self) {
        self.daemon = spawn(self.dir.path());
        self.wait_for_daemon();
    }

    fn wait_for_daemon(&self) {
        until("libvirtd answers (its log is libvirtd.log)", || {
            self.virsh(&["uri"]).is_ok()
        });
    }

    fn definition(&self, images: &Images, panic_device: PanicDevice) -> String {
        let device = match panic_device {
            PanicDevice::Absent => "",
            PanicDevice::Present => "<panic model='isa'/>",
        };
        fs::read_to_string(scripts().join("domain.xml"))
            .unwrap()
            .replace("@IMAGES@", images.dir.to_str().unwrap())
            .replace("@DIR@", self.dir().to_str().unwrap())
            .replace("@PORT@", &self.login.port.to_string())
            .replace("@CMDLINE@", CMDLINE)
            .replace("@PANIC@", device)
    }

    fn throttle(&self, bytes_a_second: &str) {
        let limit = ["blkdeviotune", "victim", "vda", "--write-bytes-sec"];
        let args = [limit.as_slice(), &[bytes_a_second]].concat();
        self.virsh(&args).unwrap();
    }
}

/// libvirtd with its own view of the file system. `unshare` and the script exec it, so
/// it is an ordinary child process.
fn spawn(dir: &Path) -> Child {
    let log = fs::File::create(dir.join("out")).unwrap();
    Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(scripts().join("libvirtd.sh"))
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Machine for Libvirt {
    fn login(&self) -> &Login {
        &self.login
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn serial_log(&self) -> PathBuf {
        self.dir().join("serial.log")
    }

    fn freeze_disk(&self) {
        self.throttle("1");
    }

    fn thaw_disk(&self) {
        self.throttle("0");
    }

    fn pause(&self) {
        self.virsh(&["suspend", "victim"]).unwrap();
    }
}

impl Hypervisor for Libvirt {
    fn policy(&self) -> String {
        let (uri, dir) = (self.uri(), self.dir().display());
        format!(
            "driver = \"virsh\"\nguest = \"victim\"\nconnection = \"{uri}\"\n\
             libvirt_run_dir = \"{dir}/run/qemu\"\nlibvirt_config_dir = \"{dir}/etc/qemu\"\n\
             libvirt_log_dir = \"{dir}/log/qemu\"\nserial_log = \"{dir}/serial.log\"\n"
        )
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        // First the daemon, which would report the guest's end and may be stopped by a signal.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        kill_all(self.dir.path());
    }
}
