//! Login to a guest: SSH with the lab's key, always with a timeout.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::images::Images;
use crate::port;

/// Timeout of a command in a healthy guest, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Timeout of a command in a guest that may disappear without a message.
const DOUBT: Duration = Duration::from_secs(10);
/// Timeout of a boot.
const BOOT: Duration = Duration::from_secs(180);

/// Root's login on a guest.
#[derive(Debug, Clone)]
pub struct Login {
    /// The port on 127.0.0.1 that is forwarded to the guest's SSH server.
    pub port: u16,
    /// The private key.
    pub key: PathBuf,
}

impl Login {
    /// A login with the key of `images` on an unused port.
    pub(super) fn on_a_free_port(images: &Images) -> Login {
        Login {
            port: port::own(),
            key: images.file("key"),
        }
    }

    /// Runs `command` in a healthy guest, for at most a minute; its output.
    ///
    /// # Errors
    /// The output of `ssh` or of the command, if one failed or took too long.
    ///
    /// # Panics
    /// When there is no `ssh`.
    pub fn run(&self, command: &str) -> Result<String, String> {
        self.run_within(PATIENCE, command)
    }

    /// Runs `command` in a guest that may not answer, for at most 10 s; its output.
    ///
    /// # Errors
    /// Like [`Login::run`].
    ///
    /// # Panics
    /// When there is no `ssh`.
    pub fn try_run(&self, command: &str) -> Result<String, String> {
        self.run_within(DOUBT, command)
    }

    fn run_within(&self, limit: Duration, command: &str) -> Result<String, String> {
        let limit = limit.as_secs().to_string();
        let output = Command::new("timeout")
            .args(["--signal=KILL", &limit, "ssh", "-F", "none", "-q", "-i"])
            .arg(&self.key)
            .args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-p"])
            .args([&self.port.to_string(), "root@127.0.0.1", command])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        words(&output)
    }

    /// Waits until a login succeeds; returns how long that took.
    ///
    /// # Panics
    /// When none succeeds within three minutes.
    pub fn wait(&self) -> Duration {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < BOOT {
            // User networking accepts connections for a dead guest too: only a greeting proves an SSH server.
            // The longer it takes, the slower the guest is assumed to be.
            if self.greets_within(Duration::from_secs(1) + began.elapsed() / 8) {
                match self.try_run("true") {
                    Ok(_) => return began.elapsed(),
                    Err(why) => last = why,
                }
            } else {
                thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("no login on the guest's port {}: {last}", self.port);
    }

    /// Whether the guest's SSH server greets within a second. A missing greeting proves nothing about a
    /// guest that should answer: use [`Login::wait`] for that.
    #[must_use]
    pub fn greets(&self) -> bool {
        self.greets_within(Duration::from_secs(1))
    }

    fn greets_within(&self, limit: Duration) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return false;
        };
        let mut greeting = [0; 4];
        let _ = stream.set_read_timeout(Some(limit));
        stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
    }
}

/// The output of a program, or its failure.
pub(super) fn words(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{}: {}", output.status, text(&output.stderr)))
    }
}
