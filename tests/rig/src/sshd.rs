//! A real OpenSSH server on loopback, with its own keys and configuration.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::port;

/// sshd re-executes itself, so it needs its absolute path.
pub(crate) const SSHD: &str = "/usr/sbin/sshd";
/// A server that cannot start exits at once; this timeout is for a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A server; dropping it ends it and all its child processes.
#[derive(Debug)]
pub struct Sshd {
    dir: TempDir,
    child: Option<Child>,
    variables: bool,
    path: Option<PathBuf>,
    sessions: u32,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl Sshd {
    /// Lets the owner of `public_key` (one line, as in `id_ed25519.pub`) run anything.
    ///
    /// # Panics
    /// When sshd is missing or does not come up.
    #[must_use]
    pub fn open(public_key: &str) -> Sshd {
        Sshd::with_authorized_keys(&format!("{public_key}\n"))
    }

    /// Lets the owner of `public_key` run only `command`.
    ///
    /// # Panics
    /// Like [`Sshd::open`].
    #[must_use]
    pub fn forced(public_key: &str, command: &str) -> Sshd {
        assert!(
            !command.contains('"'),
            "quotes would need escaping in authorized_keys"
        );
        Sshd::with_authorized_keys(&format!("command=\"{command}\",restrict {public_key}\n"))
    }

    /// Uses `text` as its `authorized_keys`.
    ///
    /// # Panics
    /// Like [`Sshd::open`].
    #[must_use]
    pub fn with_authorized_keys(text: &str) -> Sshd {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: apt-get install openssh-server"
        );
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("authorized_keys"), text).unwrap();
        keygen(&dir.path().join("host_key"));
        let mut sshd = Sshd {
            dir,
            child: None,
            variables: true,
            path: None,
            sessions: 10,
            port: 0,
        };
        sshd.start_on_a_free_port();
        sshd
    }

    /// The account to log in as: the one that runs the tests.
    ///
    /// # Panics
    /// When there is no `id`.
    #[must_use]
    pub fn user(&self) -> String {
        let output = Command::new("id").arg("-un").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Its line in a `known_hosts` file.
    ///
    /// # Panics
    /// When its public key can't be read.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        let key = fs::read_to_string(self.dir.path().join("host_key.pub")).unwrap();
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    /// Kills it and all its child processes at once, like a power failure.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        kill_tree(child.id());
        let _ = child.wait();
    }

    /// Starts it again after [`Sshd::kill`]: same port, same keys.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.start(), "sshd did not come up again: {}", self.log());
    }

    /// Restarts it with another host key, as after a reinstallation.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart_with_another_key(&mut self) {
        let key = self.dir.path().join("host_key");
        fs::remove_file(&key).unwrap();
        fs::remove_file(key.with_extension("pub")).unwrap();
        keygen(&key);
        self.restart();
    }

    /// Restarts it without accepting environment variables of clients.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart_without_variables(&mut self) {
        self.variables = false;
        self.restart();
    }

    /// Restarts it with `MaxSessions` set to `sessions`.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart_with_sessions(&mut self, sessions: u32) {
        self.sessions = sessions;
        self.restart();
    }

    /// Restarts it with `dir` first in the `PATH` of commands.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart_with_path(&mut self, dir: &Path) {
        self.path = Some(dir.to_owned());
        self.restart();
    }

    /// Uses `text` as its `authorized_keys` from now on.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn authorize(&self, text: &str) {
        fs::write(self.dir.path().join("authorized_keys"), text).unwrap();
    }

    /// Stops it and all its child processes, like a stalled machine; the kernel still accepts connections.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Undoes [`Sshd::freeze`].
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// Drops every connection and keeps listening.
    pub fn drop_connections(&self) {
        let Some(child) = &self.child else { return };
        for pid in self::tree(child.id())
            .into_iter()
            .filter(|pid| *pid != child.id())
        {
            send(pid, Signal::KILL);
        }
    }

    /// Cuts every connection, like a network failure: sshd's own processes end, and their child processes must
    /// notice that.
    pub fn cut_connections(&self) {
        let Some(child) = &self.child else { return };
        let is_sshd = |pid: &u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.starts_with("sshd"))
        };
        let sessions = self::tree(child.id()).into_iter().filter(is_sshd);
        for pid in sessions.filter(|pid| *pid != child.id()) {
            send(pid, Signal::KILL);
        }
    }

    /// Number of connections that it has accepted and not refused since it was created.
    #[must_use]
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Its log since it was created.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Why it may have closed a connection, for the message of a failing test: whether it still runs,
    /// and the end of its log (`MaxStartups`, `LoginGraceTime`, penalties, a crash).
    #[must_use]
    pub fn last_words(&self) -> String {
        const LINES: usize = 30;
        let is_there = self.child.as_ref().is_some_and(|child| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        });
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..);
        let state = if is_there { "is there" } else { "has ended" };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        format!(
            "sshd on port {} {state}, load {}; the last of its log:\n{}\n",
            self.port,
            load.trim(),
            last.unwrap_or_default().join("\n")
        )
    }

    fn signal_all(&self, signal: Signal) {
        let Some(child) = &self.child else { return };
        for pid in self::tree(child.id()) {
            send(pid, signal);
        }
    }

    fn start_on_a_free_port(&mut self) {
        for _ in 0..5 {
            self.port = port::own();
            // Another process may take the port in between: then sshd ends, and another port is tried.
            if self.start() {
                return;
            }
        }
        panic!("sshd did not come up: {}", self.log());
    }

    fn start(&mut self) -> bool {
        if rustix::process::geteuid().is_root() {
            let _ = fs::create_dir_all("/run/sshd");
        }
        let config = self.write_config();
        let child = Command::new(SSHD)
            .args(["-D", "-f"])
            .arg(config)
            .arg("-E")
            .arg(self.dir.path().join("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = self.port;
        wait_for_banner(self.child.insert(child), port)
    }

    fn write_config(&self) -> PathBuf {
        let dir = self.dir.path().display();
        let mut text = format!(
            "ListenAddress 127.0.0.1\nPort {}\nHostKey {dir}/host_key\n",
            self.port
        );
        let _ = write!(
            text,
            "AuthorizedKeysFile {dir}/authorized_keys\nPidFile none\n"
        );
        // The directory is temporary, and PAM would require a complete account for root.
        text.push_str("StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n");
        text.push_str("PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n");
        text.push_str("Subsystem sftp internal-sftp\n");
        if self.variables {
            // Debian's default.
            text.push_str("AcceptEnv LANG LC_*\n");
        }
        // Otherwise bash, started by sshd, would run the account's .bashrc.
        text.push_str("SetEnv SHLVL=1");
        if let Some(dir) = &self.path {
            let _ = write!(text, " PATH={}:/usr/bin:/bin", dir.display());
        }
        text.push('\n');
        // The tests depend on OpenSSH's defaults.
        let _ = writeln!(text, "MaxSessions {}", self.sessions);
        text.push_str("MaxStartups 100\nLogLevel VERBOSE\n");
        let path = self.dir.path().join("sshd_config");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the server in `child` answers before it ends.
pub(crate) fn wait_for_banner(child: &mut Child, port: u16) -> bool {
    let end = Instant::now() + START_LIMIT;
    while Instant::now() < end {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if greets(port) {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    false
}

/// Ends a process and all its descendants at once.
pub(crate) fn kill_tree(root: u32) {
    for pid in tree(root) {
        send(pid, Signal::KILL);
    }
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let mut greeting = [0; 4];
    let _ = stream.set_read_timeout(Some(START_LIMIT));
    stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
}

fn keygen(path: &Path) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "rig", "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen is missing: apt-get install openssh-client");
    assert!(status.success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// `root` and all its descendants; sshd gives each connection its own session, so a process
/// group would not contain them.
fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // `pid (name) state ppid …`; the name may contain any character.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parents.push((pid, parent.unwrap_or(0)));
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|entry| entry.1 == parent)
                .map(|entry| entry.0),
        );
        next += 1;
    }
    found
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
