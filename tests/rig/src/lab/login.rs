//! The way into a guest: SSH with the lab's key, never longer than a few seconds.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::images::Images;
use crate::port;

/// Root's login on a guest.
#[derive(Debug, Clone)]
pub struct Login {
    /// The port on 127.0.0.1 that leads to the guest's SSH server.
    pub port: u16,
    /// The private key.
    pub key: PathBuf,
}

impl Login {
    /// A login by the key of `images` on a port that nobody uses.
    pub(super) fn on_a_free_port(images: &Images) -> Login {
        Login {
            port: port::own(),
            key: images.file("key"),
        }
    }

    /// Runs `command` in the guest, for at most 10 s; its output.
    ///
    /// # Errors
    /// The words of `ssh`, or of the command, when one failed or took too long.
    ///
    /// # Panics
    /// When there is no `ssh`.
    pub fn run(&self, command: &str) -> Result<String, String> {
        let output = Command::new("timeout")
            .args(["--signal=KILL", "10", "ssh", "-F", "none", "-q", "-i"])
            .arg(&self.key)
            .args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args(["-o", "ConnectTimeout=4", "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-p"])
            .args([&self.port.to_string(), "root@127.0.0.1", command])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        words(&output)
    }

    /// Waits until somebody can log in; how long that took.
    ///
    /// # Panics
    /// When nobody can within a minute.
    pub fn wait(&self) -> Duration {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < Duration::from_secs(60) {
            // User networking accepts for a dead guest too: only a greeting proves an SSH server.
            if self.greets() {
                match self.run("true") {
                    Ok(_) => return began.elapsed(),
                    Err(why) => last = why,
                }
            } else {
                thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("no login on the guest's port {}: {last}", self.port);
    }

    /// Whether the guest's SSH server greets within a second.
    #[must_use]
    pub fn greets(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return false;
        };
        let mut greeting = [0; 4];
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
    }
}

/// What a program printed, or how it failed.
pub(super) fn words(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{}: {}", output.status, text(&output.stderr)))
    }
}
