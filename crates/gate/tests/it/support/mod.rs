//! A host for the gate under test: the `qm` stand-in, its "QEMU", a monitor and a policy file.

// Each test binary uses only a part of this module.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../../../../../tests/rig/src/qmp.rs"]
mod qmp;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use breakglass_rig::pve;
use tempfile::TempDir;

/// The output of a verb, in order.
#[derive(Default)]
pub struct Transcript(pub Vec<String>);

impl breakglass_gate::Output for Transcript {
    fn line(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    fn error(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    fn picture(&mut self, _: &[u8]) {
        self.0.push("a picture".to_owned());
    }
}

pub struct Host {
    dir: TempDir,
    monitor: Option<qmp::Monitor>,
}

impl Host {
    /// A host whose guest 102 is off.
    pub fn stopped() -> Host {
        let dir = tempfile::tempdir().unwrap();
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/rig/assets/qm");
        fs::copy(stand_in, dir.path().join("qm")).unwrap();
        fs::create_dir_all(dir.path().join("qm-state/run")).unwrap();
        pve::healthy(&dir.path().join("qm-state/pve"));
        let mut host = Host { dir, monitor: None };
        host.set("id", "102\n");
        host.set("config", "name: web01\n");
        host.set("pending", "cur name: web01\n");
        host.write_policy("");
        let socket = host.state().join("run/102.qmp");
        host.monitor = Some(qmp::Monitor::start(&socket, &host.state()));
        host
    }

    /// A host whose guest 102 runs.
    pub fn running() -> Host {
        let host = Host::stopped();
        assert!(host.qm(&["start", "102"]).status.success());
        fs::remove_file(host.state().join("calls")).unwrap();
        host
    }

    /// Ends the monitor, so that nothing listens on its socket.
    pub fn end_monitor(&mut self) {
        self.monitor.take();
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("qm-state")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn set(&self, name: &str, text: &str) {
        fs::write(self.state().join(name), text).unwrap();
    }

    pub fn unset(&self, name: &str) {
        let _ = fs::remove_file(self.state().join(name));
    }

    /// Writes a program.
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The path of a file in the cluster file system.
    pub fn pve(&self, name: &str) -> PathBuf {
        self.state().join("pve").join(name)
    }

    /// Makes high availability manage the guest, with `state` as its requested state.
    pub fn manage(&self, state: &str) {
        pve::manage(&self.state().join("pve"), state);
    }

    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.state().join("run/102.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Whether the stand-in's "QEMU" exists and is not a zombie.
    pub fn is_alive(&self) -> bool {
        let status = |pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let status = self.pid().map_or(String::new(), status);
        status
            .lines()
            .any(|line| line.starts_with("State:") && !line.contains("Z (zombie)"))
    }

    /// The arguments of each call of `qm`.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.state().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// The calls that change the guest.
    pub fn changes(&self) -> Vec<String> {
        let mut calls = self.calls();
        calls.retain(|call| !["status", "pending"].iter().any(|v| call.starts_with(v)));
        calls
    }

    pub fn host_log(&self) -> String {
        fs::read_to_string(self.path("journal")).unwrap_or_default()
    }

    /// Writes the policy, with the lines of `more` instead of those with the same keys.
    pub fn write_policy(&self, more: &str) {
        let root = self.dir.path().display();
        let base = format!(
            "driver = \"qm\"\nguest = 102 # web01\nqm = \"{root}/qm\"\nrun_dir = \"{root}/qm-state/run\"\n\
             cgroup_dir = \"{root}/cgroup\"\npve_dir = \"{root}/qm-state/pve\"\n\
             forensics_dir = \"{root}/forensics\"\njournal_file = \"{root}/journal\"\n\
             lock_dir = \"{root}/qm-state/flock\"\ntasks = \"{root}/tasks\"\nserial_log = \"{root}/serial\"\nsyslog = \"{root}/log\"\n\
             gate_dir = \"{root}/runs\"\nsample_gap_seconds = 0\nask_seconds = 20\n\
             settle_seconds = 20\n"
        );
        let key = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let kept = base
            .lines()
            .filter(|line| !more.lines().any(|other| key(other) == key(line)));
        let kept: Vec<&str> = kept.chain(more.lines()).collect();
        fs::write(self.path("gate.toml"), kept.join("\n") + "\n").unwrap();
    }

    /// Runs the stand-in without an environment, like the gate.
    pub fn qm(&self, args: &[&str]) -> Output {
        let mut command = Command::new(self.path("qm"));
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// The gate, as sshd starts it for a client that sent `line`.
    pub fn gate(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_breakglass-gate"));
        command
            .arg("--policy")
            .arg(self.path("gate.toml"))
            .env_clear()
            .env("SSH_ORIGINAL_COMMAND", line)
            .env("SSH_CONNECTION", "192.0.2.7 50022 192.0.2.1 22")
            .stdin(Stdio::null());
        command
    }

    /// Sends one line and returns exit code, standard output and standard error.
    pub fn send(&self, line: &str) -> (i32, String, String) {
        let output = self.gate(line).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (
            output.status.code().unwrap(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Before the directory is removed with its socket, which ends it.
        self.monitor.take();
        // Ends the stand-in's "QEMU", even if a test has made the stand-in forget it.
        for entry in fs::read_dir(self.state()).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains("-stop")
                || name.ends_with("-any")
                || matches!(name.as_str(), "keep-qemu" | "lock" | "shutdown")
            {
                self.unset(&name);
            }
        }
        self.unset("lock");
        // Leaves nothing to do for a pending request of high availability.
        let _ = fs::remove_dir_all(self.state().join("pve"));
        pve::healthy(&self.state().join("pve"));
        let _ = self.qm(&["stop", "102"]);
        if let Ok(forgotten) = fs::read_to_string(self.state().join("forgotten")) {
            let _ = Command::new("kill")
                .args(["-KILL", forgotten.trim()])
                .status();
        }
    }
}

/// Waits until `done`, for at most 30 s.
pub fn wait_for(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(
            Instant::now() < deadline,
            "the condition was not met within 30 s"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A guest agent that answers one question. Its thread runs until the end of the test.
pub struct Agent {
    says: std::sync::Arc<std::sync::Mutex<(String, usize)>>,
}

impl Agent {
    /// Listens on `socket` and answers `state` to the question whether file systems are frozen.
    pub fn start(socket: &Path, state: &str) -> Agent {
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        let says = std::sync::Arc::new(std::sync::Mutex::new((state.to_owned(), 0)));
        let agent = Agent {
            says: std::sync::Arc::clone(&says),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                says.lock().unwrap().1 += 1;
                let _ = converse(&client, &says);
            }
        });
        agent
    }

    pub fn says(&self, state: &str) {
        state.clone_into(&mut self.says.lock().unwrap().0);
    }

    /// Number of clients that have connected.
    pub fn asked(&self) -> usize {
        self.says.lock().unwrap().1
    }
}

fn converse(
    client: &std::os::unix::net::UnixStream,
    says: &std::sync::Mutex<(String, usize)>,
) -> std::io::Result<()> {
    use std::io::{BufRead, BufReader, Write};
    let mut out = client;
    // An answer to an earlier client that has disconnected.
    writeln!(out, r#"{{"return": "thawed"}}"#)?;
    for line in BufReader::new(client).lines() {
        let request: serde_json::Value = serde_json::from_str(&line?)?;
        let state = says.lock().unwrap().0.clone();
        match request["execute"].as_str() {
            Some("guest-sync") => writeln!(out, r#"{{"return": {}}}"#, request["arguments"]["id"])?,
            // With an empty state the agent is silent.
            _ if state.is_empty() => {}
            _ => writeln!(out, r#"{{"return": "{state}"}}"#)?,
        }
    }
    Ok(())
}

/// A FUSE file system whose daemon reads every request and never answers, so that every access hangs
/// in the kernel. Needs root.
pub struct HungFiles {
    dir: TempDir,
    asked: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl HungFiles {
    pub fn mount() -> HungFiles {
        use std::io::{Read, Write};
        let (dir, asked) = (tempfile::tempdir().unwrap(), std::sync::Arc::default());
        let hung = HungFiles { dir, asked };
        let mut device = fs::File::options();
        let mut device = device.read(true).write(true).open("/dev/fuse").unwrap();
        let mount = Command::new("mount")
            .args([
                "-i",
                "-t",
                "fuse",
                "-o",
                "fd=0,rootmode=40000,user_id=0,group_id=0",
            ])
            .arg("hung")
            .arg(hung.dir())
            .stdin(device.try_clone().unwrap())
            .status();
        assert!(
            mount.unwrap().success(),
            "FUSE is not available: this test needs root"
        );
        let asked = std::sync::Arc::clone(&hung.asked);
        std::thread::spawn(move || {
            let mut request = vec![0; 1 << 17];
            while device.read(&mut request).is_ok() {
                // Only the first one, INIT (26), is answered: 64 bytes, version 7.31.
                if request[4..8] == 26_u32.to_le_bytes() {
                    let mut answer = [0; 80];
                    answer[0..4].copy_from_slice(&80_u32.to_le_bytes());
                    answer[8..16].copy_from_slice(&request[8..16]);
                    answer[16..20].copy_from_slice(&7_u32.to_le_bytes());
                    answer[20..24].copy_from_slice(&31_u32.to_le_bytes());
                    answer[36..40].copy_from_slice(&4096_u32.to_le_bytes());
                    device.write_all(&answer).unwrap();
                } else {
                    asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            }
        });
        hung
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Number of requests that it has read.
    pub fn asked(&self) -> usize {
        self.asked.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Drop for HungFiles {
    fn drop(&mut self) {
        // Forced, which releases the waiting processes.
        for how in ["-f", "-l"] {
            let umount = Command::new("umount").arg(how).arg(self.dir()).output();
            if umount.is_ok_and(|output| output.status.success()) {
                break;
            }
        }
    }
}
