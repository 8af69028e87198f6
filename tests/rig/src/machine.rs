//! A machine with its own files: a real OpenSSH server in its own mount namespace, where
//! a layer over `/etc`, `/root`, `/home`, `/usr` and `/var` receives every change. Accounts, sudo and
//! sshd's usual files are real there, and disappear with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::port;
use crate::sshd::{self, SSHD};

/// Mounts the layers, makes host keys and a configuration, and execs sshd.
const START: &str = r#"
set -eu
layers=$1 port=$2
mount -t tmpfs tmpfs "$layers"
for part in etc root home usr var; do
  mkdir -p "$layers/$part/up" "$layers/$part/work"
  mount -t overlay overlay -o "lowerdir=/$part,upperdir=$layers/$part/up,workdir=$layers/$part/work" "/$part"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
rm -rf /etc/ssh/ssh_host_* /etc/sudoers.d/breakglass* /etc/breakglass /usr/local/sbin/breakglass*
# Else bash would run whatever the account's own holds.
rm -f /root/.bashrc /root/.profile
ssh-keygen -q -t ed25519 -N '' -C machine -f /etc/ssh/ssh_host_ed25519_key
cat >/etc/ssh/sshd_config <<CONFIG
ListenAddress 127.0.0.1
Port $port
PidFile none
UsePAM no
UseDNS no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
LogLevel VERBOSE
CONFIG
rm -rf /root/.ssh
mkdir -m 700 /root/.ssh
cat >/root/.ssh/authorized_keys
exec "$3" -D -E "$4"
"#;

/// A machine with a root login for its operator; dropping it ends it and everything that runs on it.
#[derive(Debug)]
pub struct Machine {
    dir: TempDir,
    child: Child,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl Machine {
    /// A machine whose root has these lines in `authorized_keys`.
    ///
    /// # Panics
    /// When it does not come up: it needs root, overlay mounts and OpenSSH's server.
    #[must_use]
    pub fn start(authorized_keys: &str) -> Machine {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: apt-get install openssh-server"
        );
        assert!(
            rustix::process::geteuid().is_root(),
            "a machine of its own takes mounts: run the tests as root"
        );
        for _ in 0..5 {
            let port = port::own();
            // Another process may take the port in between: then sshd ends, and another port is tried.
            if let Some(machine) = Machine::start_on(port, authorized_keys) {
                return machine;
            }
        }
        panic!("no machine came up");
    }

    fn start_on(port: u16, authorized_keys: &str) -> Option<Machine> {
        let dir = tempfile::tempdir().unwrap();
        let (layers, keys) = (dir.path().join("layers"), dir.path().join("keys"));
        fs::create_dir(&layers).unwrap();
        fs::write(&keys, authorized_keys).unwrap();
        let errors = fs::File::create(dir.path().join("errors")).unwrap();
        let child = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                START,
                "sh",
            ])
            .arg(layers)
            .arg(port.to_string())
            .arg(SSHD)
            .arg(dir.path().join("log"))
            .stdin(fs::File::open(keys).unwrap())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("unshare is missing: apt-get install util-linux");
        let mut machine = Machine { dir, child, port };
        let up = sshd::wait_for_banner(&mut machine.child, port);
        if !up {
            let errors = fs::read_to_string(machine.dir.path().join("errors"));
            eprintln!("no machine on port {port}: {errors:?} {}", machine.log());
        }
        up.then_some(machine)
    }

    /// A Proxmox host whose guest 102 is off, with the stand-in for `qm` in the usual place.
    ///
    /// # Panics
    /// Like [`Machine::start`].
    #[must_use]
    pub fn hypervisor(authorized_keys: &str) -> Machine {
        let machine = Machine::start(authorized_keys);
        let qm = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/qm");
        let made = machine.sh(&format!(
            "install -m 0755 {} /usr/sbin/qm; mkdir -p /usr/sbin/qm-state/run; cd /usr/sbin/qm-state; \
             echo 102 >id; echo 'name: devvm' >config; echo 'cur name: devvm' >pending",
            qm.display()
        ));
        assert!(made.status.success(), "{made:?}");
        machine
    }

    /// The path of a file of the machine for this process.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.child.id()))
    }

    /// A file's text; empty if there is none.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Writes a file.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    /// Runs a script on it as root.
    ///
    /// # Panics
    /// When there is no `nsenter`.
    #[must_use]
    pub fn sh(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target"]);
        command.arg(self.child.id().to_string());
        command.args(["sh", "-c", script]);
        command.output().expect("apt-get install util-linux")
    }

    /// All changed files except logs and the stand-in's own, with inode, owner, mode, time and contents. The
    /// same text twice proves that no file was touched in between.
    ///
    /// # Panics
    /// When it can't be listed.
    #[must_use]
    pub fn changes(&self) -> String {
        let output = self.sh(&format!(
            "cd {}; all() {{ find */up -not -path 'var/up/log*' -not -path '*/qm-state*' \"$@\"; }}; \
             all -printf '%p %i %y%m %U:%G %T@ %s %l\\n' | sort; all -type f -exec sha256sum {{}} + | sort",
            self.dir.path().join("layers").display()
        ));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its line in a `known_hosts` file, for a client that connects to `port`.
    #[must_use]
    pub fn known_hosts(&self, port: u16) -> String {
        let key = self.read("/etc/ssh/ssh_host_ed25519_key.pub");
        format!("[127.0.0.1]:{port} {key}")
    }

    /// The log of its sshd.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        sshd::kill_tree(self.child.id());
        let _ = self.child.wait();
    }
}
