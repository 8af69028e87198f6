//! A machine under plain QEMU, its files named as Proxmox names them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::images::{CMDLINE, Images, images};
use super::login::Login;
use super::machine::{Machine, kill_all};
use super::qmp;

const DISK: &str = "drive-virtio0";

/// Guest 102. In its run directory: `102.pid`, `102.qmp`, `102.qga`, `102.serial0`, and
/// `102.lab`, a second monitor for faults, independent of the client of the first one.
#[derive(Debug)]
pub struct Guest {
    dir: TempDir,
    login: Login,
}

impl Guest {
    /// A guest that is off.
    ///
    /// # Panics
    /// When its files can't be made.
    #[must_use]
    pub fn stopped() -> Guest {
        let images = images();
        let guest = Guest {
            dir: tempfile::tempdir().unwrap(),
            login: Login::on_a_free_port(&images),
        };
        let run = guest.run_dir();
        fs::create_dir(&run).unwrap();
        fs::copy(images.file("disk.img"), guest.dir().join("disk.img")).unwrap();
        fs::write(run.join("102"), vec![0; 1 << 20]).unwrap();
        let script = guest.start_script();
        fs::write(&script, guest.command_line(&images)).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        guest
    }

    /// A guest that has booted.
    ///
    /// # Panics
    /// When it does not boot.
    #[must_use]
    pub fn running() -> Guest {
        let guest = Guest::stopped();
        guest.start();
        guest.login.wait();
        guest
    }

    /// Starts QEMU, and returns before the guest has booted.
    ///
    /// # Panics
    /// When QEMU does not start.
    pub fn start(&self) {
        let mut command = Command::new(self.start_script());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "QEMU does not start: {words}");
    }

    /// The directory of its pid file and sockets.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// A program without arguments that starts QEMU in the background.
    #[must_use]
    pub fn start_script(&self) -> PathBuf {
        self.dir.path().join("start")
    }

    fn ask(&self, command: &str, arguments: &Value) -> Value {
        qmp::ask(&self.run_dir().join("102.lab"), command, arguments)
    }

    fn throttle(&self, bytes_a_second: u32) {
        let mut limits = json!({ "device": DISK, "bps_wr": bytes_a_second });
        for other in ["bps", "bps_rd", "iops", "iops_rd", "iops_wr"] {
            limits[other] = 0.into();
        }
        self.ask("block_set_io_throttle", &limits);
    }

    fn command_line(&self, images: &Images) -> String {
        let dir = self.dir().display();
        let (kernel, initrd) = (images.file("vmlinuz"), images.file("initrd.img"));
        let (kernel, initrd) = (kernel.display(), initrd.display());
        let port = self.login.port;
        let socket = |name: &str| {
            format!("-chardev socket,id={name},path={dir}/run/102.{name},server=on,wait=off")
        };
        let [qmp, lab, qga] = ["qmp", "lab", "qga"].map(socket);
        // Proxmox's QEMU has an option `-id`, which identifies its processes. Stock QEMU gets the
        // same two arguments as its name and as an unused disk image.
        format!(
            "#!/bin/sh\ncd {dir}/run && rm -f 102.serial0.log && /usr/bin/qemu-system-x86_64 \
             -name -id 102 -M q35 -accel tcg,thread=multi,tb-size=256 -cpu max -m 192 -smp 1 \
             -nodefaults -no-user-config -display none -vga std -daemonize -pidfile {dir}/run/102.pid \
             -kernel {kernel} -initrd {initrd} -append '{CMDLINE}' \
             {qmp} -mon chardev=qmp,mode=control {lab} -mon chardev=lab,mode=control \
             -chardev socket,id=serial0,path={dir}/run/102.serial0,server=on,wait=off,logfile={dir}/run/102.serial0.log \
             -serial chardev:serial0 \
             -netdev user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:22 \
             -device virtio-net-pci,netdev=net0,romfile= \
             -drive if=none,id={DISK},file={dir}/disk.img,format=raw,cache=none \
             -device virtio-blk-pci,drive={DISK},id=virtio0 \
             {qga} -device virtio-serial-pci -device virtserialport,chardev=qga,name=org.qemu.guest_agent.0 \
             2>{dir}/start.log || {{ cat {dir}/start.log >&2; exit 1; }}\n"
        )
    }
}

impl Machine for Guest {
    fn login(&self) -> &Login {
        &self.login
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn serial_log(&self) -> PathBuf {
        self.run_dir().join("102.serial0.log")
    }

    fn freeze_disk(&self) {
        // One byte a second, because a limit of zero means no limit.
        self.throttle(1);
    }

    fn thaw_disk(&self) {
        self.throttle(0);
    }

    fn pause(&self) {
        self.ask("stop", &json!({}));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        kill_all(self.dir.path());
    }
}
