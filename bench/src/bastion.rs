//! The agent's `ssh` through the bastion, against the stock client on its own. Real sshd on loopback,
//! real OpenSSH on both sides; the bastion runs in this process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use breakglass_agent::ProcessTree;
use breakglass_bastion::Rules;
use breakglass_bastion::{Bastion, BastionConversation, BastionOptions, HOST_KEY_ALIAS};
use breakglass_control::ssh::load_key;
use breakglass_control::{Control, Endpoint, HostKeyPolicy, Pictures, SshOptions, Target};
use breakglass_log::{Log, Options};
use breakglass_model::{Actor, Autonomy};
use breakglass_rig::sshd::Sshd;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::stats;

const ROUNDS: usize = 30;
const BULK_ROUNDS: usize = 5;
const BULK: &str = "104857600";
const IDLE: usize = 50;
/// The cipher that the bastion prefers upstream.
const CIPHER: &str = "Ciphers=aes256-gcm@openssh.com";

pub(crate) fn run() {
    let runtime = Runtime::new().unwrap();
    let scene = Scene::start(&runtime, true);
    let (ours, direct) = stats::paired(
        ROUNDS,
        || stats::time(|| quick(&scene.cell, "devvm")),
        || stats::time(|| quick(&scene.direct, "guest")),
    );
    let name = "agent's `ssh devvm true`";
    print_ms(name, ours, "stock ssh", direct, "≤ 0.1×");
    let (ours, shared) = stats::paired(
        ROUNDS,
        || stats::time(|| quick(&scene.cell, "devvm")),
        || stats::time(|| quick(&scene.shared, "guest")),
    );
    print_ms(name, ours, "with ControlMaster", shared, "≤ 1.3×");
    recording(&runtime, &scene);
    bulk(&scene);
    idle(&scene);
}

/// The cost of recording each command on disk before it runs and after it has ended.
fn recording(runtime: &Runtime, on_disk: &Scene) {
    let in_memory = Scene::start(runtime, false);
    let (disk, memory) = stats::paired(
        ROUNDS,
        || stats::time(|| quick(&on_disk.cell, "devvm")),
        || stats::time(|| quick(&in_memory.cell, "devvm")),
    );
    print_ms("recorded on disk", disk, "recorded in memory", memory, "–");
}

fn bulk(scene: &Scene) {
    let there = |config: &Path, host: &str| {
        shell(&format!(
            "head -c {BULK} /dev/zero | ssh -F {} {host} 'cat > /dev/null'",
            config.display()
        ));
    };
    let back = |config: &Path, host: &str| {
        shell(&format!(
            "ssh -F {} {host} 'head -c {BULK} /dev/zero' > /dev/null",
            config.display()
        ));
    };
    let (ours, direct) = stats::paired(
        BULK_ROUNDS,
        || stats::time(|| there(&scene.cell, "devvm")),
        || stats::time(|| there(&scene.shared, "guest")),
    );
    print_speed("100 MB to the guest", ours, direct);
    let (ours, direct) = stats::paired(
        BULK_ROUNDS,
        || stats::time(|| back(&scene.cell, "devvm")),
        || stats::time(|| back(&scene.shared, "guest")),
    );
    print_speed("100 MB from the guest", ours, direct);
}

fn idle(scene: &Scene) {
    let before = rss_mib();
    let open = |_| Idle::open(&scene.cell);
    let idle: Vec<Idle> = (0..IDLE).map(open).collect();
    let after = rss_mib();
    drop(idle);
    let ours = format!("{after:.1} MiB (before: {before:.1} MiB)");
    stats::print("RSS with 50 idle channels", &ours, "", None, "–");
}

/// An idle channel, closed on drop.
struct Idle(Child);

impl Idle {
    /// Returns when the command runs on the guest.
    fn open(config: &Path) -> Idle {
        use std::io::Read as _;
        let mut child = ssh(config, "devvm", "echo; exec cat");
        child.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut first = [0];
        let stdout = child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut first).unwrap();
        Idle(child)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A guest, the bastion before it, and three configurations of the stock client.
struct Scene {
    /// Through the bastion, as in the cell's configuration.
    cell: PathBuf,
    /// Directly to the guest.
    direct: PathBuf,
    /// Directly to the guest over one shared connection.
    shared: PathBuf,
    post: BastionConversation,
    cancel: CancellationToken,
    _guest: Sshd,
    _dir: TempDir,
}

impl Scene {
    fn start(runtime: &Runtime, on_disk: bool) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        shell(&format!(
            "ssh-keygen -q -t ed25519 -N '' -f {}",
            key.display()
        ));
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let guest = Sshd::open(public.trim());
        let cancel = CancellationToken::new();
        let opening = open(dir.path(), &guest, on_disk, cancel.clone());
        let (bastion, post) = runtime.block_on(opening);
        let text = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let known = text("known", bastion.known_hosts().to_owned());
        let mux = |name: &str| {
            let path = dir.path().join(name);
            format!(
                " ControlMaster auto\n ControlPath {}\n ControlPersist 60\n",
                path.display()
            )
        };
        let cell = format!(
            "Host *\n ProxyCommand {} connect {}/%n\n ProxyUseFdpass yes\n HostKeyAlias {HOST_KEY_ALIAS}\n \
             UserKnownHostsFile {}\n BatchMode yes\n LogLevel ERROR\n",
            program().display(),
            post.sockets().unwrap().display(),
            known.display()
        );
        let straight = format!(
            "Host guest\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n {CIPHER}\n \
             UserKnownHostsFile /dev/null\n StrictHostKeyChecking no\n BatchMode yes\n LogLevel ERROR\n",
            guest.port,
            guest.user(),
            key.display()
        );
        Scene {
            cell: text("cell", cell),
            shared: text("shared", format!("{straight}{}", mux("mux-straight"))),
            direct: text("direct", straight),
            post,
            cancel,
            _guest: guest,
            _dir: dir,
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let mut stop = Command::new("ssh");
        stop.arg("-F")
            .arg(&self.shared)
            .args(["-O", "exit", "guest"]);
        let _ = stop.stderr(Stdio::null()).status();
        self.post.turn_is_ending();
        self.cancel.cancel();
    }
}

async fn open(
    dir: &Path,
    guest: &Sshd,
    on_disk: bool,
    cancel: CancellationToken,
) -> (Bastion, BastionConversation) {
    let log = Log::open(if on_disk {
        Options::at(dir.join("record.db"))
    } else {
        Options::in_memory()
    });
    let key = Arc::new(load_key(&dir.join("key")).unwrap());
    let mut ssh = SshOptions::new(key, dir.join("pins"));
    ssh.host_keys = HostKeyPolicy::TrustFirst;
    ssh.keepalive = Duration::from_secs(10);
    let endpoint = Endpoint {
        host: "127.0.0.1".to_owned(),
        port: guest.port,
        user: guest.user(),
    };
    let target = Target::new("devvm", endpoint.clone(), endpoint);
    let tracker = TaskTracker::new();
    let (_control, port) = Control::new(
        vec![target],
        ssh,
        log.clone(),
        Pictures::none(),
        cancel,
        tracker,
    );
    let options = BastionOptions {
        ceiling: None,
        sockets: Some(dir.join("b")),
        peer: rustix::process::geteuid().as_raw(),
        autonomy: Autonomy::Autonomous,
        rules: Rules::built_in().unwrap(),
    };
    let bastion = Bastion::new(port, options).unwrap();
    let opened = log.open_incident("devvm", Actor::System, false).await;
    let incident = opened.unwrap();
    let post = bastion.open(incident, "devvm").await.unwrap();
    let tree = ProcessTree::of(std::process::id()).unwrap();
    post.admit(Box::new(move |peer| {
        tree.check_peer(peer).map_err(|process| process.to_string())
    }));
    post.turn_began(1);
    (bastion, post)
}

/// The built program, beside this one.
fn program() -> PathBuf {
    let program = std::env::current_exe()
        .unwrap()
        .with_file_name("breakglass");
    assert!(program.exists(), "cargo build --release --workspace --bins");
    program
}

fn ssh(config: &Path, host: &str, command: &str) -> Command {
    let mut client = Command::new("ssh");
    client.arg("-F").arg(config).args([host, command]);
    client
}

fn quick(config: &Path, host: &str) {
    let status = ssh(config, host, "true").stdin(Stdio::null()).status();
    assert!(status.unwrap().success());
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-c", script]).status().unwrap();
    assert!(status.success(), "{script}");
}

fn print_ms(name: &str, ours: f64, against: &str, theirs: f64, goal: &str) {
    let ratio = Some(ours / theirs);
    let against = format!("{against}: {theirs:.1} ms");
    stats::print(name, &format!("{ours:.1} ms"), &against, ratio, goal);
}

fn print_speed(name: &str, ours: f64, direct: f64) {
    let speed = |ms: f64| 104.857_6 / ms * 1e3;
    let against = format!("stock ssh, same cipher: {:.0} MB/s", speed(direct));
    let ours_text = format!("{:.0} MB/s", speed(ours));
    stats::print(name, &ours_text, &against, Some(direct / ours), "≥ 0.8×");
}

fn rss_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse().ok())
        .unwrap();
    kib / 1024.0
}
