//! A whole hypervisor as far as the network can tell: a real sshd whose forced command is the real
//! gate, with a stand-in for `qm` under it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use tempfile::TempDir;

use crate::qmp::Monitor;
use crate::sshd::Sshd;

/// The host; dropping it ends the server, the monitor and the stand-in's "QEMU".
#[derive(Debug)]
pub struct GateHost {
    /// Its SSH server.
    pub sshd: Sshd,
    monitor: Option<Monitor>,
    dir: TempDir,
}

impl GateHost {
    /// A host whose guest 102 is off, open to the owner of `public_key`.
    ///
    /// # Panics
    /// When a part of it does not come up.
    #[must_use]
    pub fn stopped(public_key: &str) -> GateHost {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/qm"),
            root.join("qm"),
        )
        .unwrap();
        fs::create_dir_all(root.join("qm-state/run")).unwrap();
        crate::pve::healthy(&root.join("qm-state/pve"));
        for (name, text) in [
            ("id", "102\n"),
            ("config", "name: devvm\n"),
            ("pending", "cur name: devvm\n"),
        ] {
            fs::write(root.join("qm-state").join(name), text).unwrap();
        }
        fs::write(root.join("gate.toml"), self::policy(root)).unwrap();
        let monitor = Monitor::start(&root.join("qm-state/run/102.qmp"), &root.join("qm-state"));
        let sshd = Sshd::forced(public_key, &forced_command(root));
        GateHost {
            sshd,
            monitor: Some(monitor),
            dir,
        }
    }

    /// A host whose guest 102 runs.
    ///
    /// # Panics
    /// Like [`GateHost::stopped`].
    #[must_use]
    pub fn running(public_key: &str) -> GateHost {
        let host = GateHost::stopped(public_key);
        host.qm("start");
        fs::remove_file(host.state("calls")).unwrap();
        host
    }

    /// From now on the policy has the lines of `more` in place of those of the same keys.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn amend_policy(&self, more: &str) {
        let key = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let base = policy(self.dir.path());
        let kept = base
            .lines()
            .filter(|line| !more.lines().any(|other| key(other) == key(line)));
        let lines: Vec<&str> = kept.chain(more.lines()).collect();
        fs::write(self.policy_file(), lines.join("\n") + "\n").unwrap();
    }

    /// What the gate's policy is read from.
    #[must_use]
    pub fn policy_file(&self) -> PathBuf {
        self.dir.path().join("gate.toml")
    }

    /// The command that the key is held to.
    #[must_use]
    pub fn command(&self) -> String {
        forced_command(self.dir.path())
    }

    /// A file of the stand-in's state; the comment at its top lists their names.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join("qm-state").join(name)
    }

    /// Writes a file of the stand-in's state.
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

    /// What `qm` was called with, one line each.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.state("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// How often `qm VERB` was called.
    #[must_use]
    pub fn count(&self, verb: &str) -> usize {
        self.calls()
            .iter()
            .filter(|call| call.split(' ').next() == Some(verb))
            .count()
    }

    /// The gate's log of its decisions.
    #[must_use]
    pub fn host_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("journal")).unwrap_or_default()
    }

    /// The process id of the stand-in's "QEMU", if there is one.
    #[must_use]
    pub fn qemu(&self) -> Option<u32> {
        fs::read_to_string(self.state("run/102.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Calls the stand-in behind the gate's back.
    ///
    /// # Panics
    /// When the stand-in fails.
    pub fn qm(&self, verb: &str) {
        let status = self.stand_in(verb).status().unwrap();
        assert!(status.success(), "the stand-in's {verb}: {status}");
    }

    fn stand_in(&self, verb: &str) -> Command {
        let mut command = Command::new(self.dir.path().join("qm"));
        command
            .args([verb, "102"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for GateHost {
    fn drop(&mut self) {
        self.sshd.kill();
        for knob in [
            "hang-stop",
            "flood-stop",
            "held-stop",
            "fail-stop",
            "keep-qemu",
            "lock",
        ] {
            self.unset(knob);
        }
        let _ = self.stand_in("stop").status();
        self.monitor.take();
    }
}

fn forced_command(root: &Path) -> String {
    let (gate, policy) = (gate_binary(), root.join("gate.toml"));
    format!("{} --policy {}", gate.display(), policy.display())
}

fn policy(root: &Path) -> String {
    let root = root.display();
    format!(
        "driver = \"qm\"\nguest = 102\nqm = \"{root}/qm\"\nrun_dir = \"{root}/qm-state/run\"\n\
         cgroup_dir = \"{root}/cgroup\"\npve_dir = \"{root}/qm-state/pve\"\n\
         forensics_dir = \"{root}/forensics\"\njournal_file = \"{root}/journal\"\n\
         lock_dir = \"{root}/qm-state/flock\"\ntasks = \"{root}/tasks\"\nserial_log = \"{root}/serial\"\nsyslog = \"{root}/log\"\n\
         gate_dir = \"{root}/runs\"\nsample_gap_seconds = 0\nask_seconds = 20\nsettle_seconds = 20\n"
    )
}

/// The gate of this build; made first where it is missing or older than its sources.
///
/// # Panics
/// When it can't be built.
#[must_use]
pub fn gate_binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let dir = own.parent().unwrap();
    // A test lies in target/PROFILE/deps, an example in …/examples, a program in target/PROFILE.
    let profile_dir = if dir.ends_with("deps") || dir.ends_with("examples") {
        dir.parent().unwrap()
    } else {
        dir
    };
    let binary = profile_dir.join("breakglass-gate");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sources = newest(&root.join("crates/gate/src")).max(newest(&root.join("crates/verbs/src")));
    let built = fs::metadata(&binary)
        .and_then(|metadata| metadata.modified())
        .ok();
    if built.is_none_or(|built| built < sources) {
        build(&root, profile_dir);
    }
    binary
}

fn build(root: &Path, profile_dir: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--offline", "-p", "breakglass-gate"]);
    cargo.arg("--target-dir").arg(profile_dir.parent().unwrap());
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the gate does not build: {errors}");
    // Cargo leaves the file alone where only times have changed.
    let touched = fs::File::options()
        .append(true)
        .open(profile_dir.join("breakglass-gate"));
    let _ = touched.and_then(|file| file.set_modified(SystemTime::now()));
}

fn newest(dir: &Path) -> SystemTime {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let times = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().unwrap().modified().unwrap(),
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}
