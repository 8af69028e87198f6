//! Logins with the key itself, over the very way that the server takes. Host keys are compared with
//! those that were read on the machine, so nobody in between is believed.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use breakglass_control::ssh::{Probe, SshError, known_hosts_name};
use breakglass_control::{Endpoint, HostKeyPolicy, SshOptions};

use super::error::{EnrollError, Result};
use super::keys::Pair;
use super::line::{MARK, Public};
use super::pins;

/// Longest wait for one trial.
const LIMIT: Duration = Duration::from_secs(10);

/// The key on one machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial<'a> {
    pub machine: &'a str,
    pub endpoint: &'a Endpoint,
    pub key: &'a Pair,
    /// What the machine holds.
    pub host_keys: &'a [Public],
}

impl Trial<'_> {
    /// Whether the key lets in from here.
    pub(crate) async fn enters(&self) -> Result<bool> {
        Ok(self.dial().await?.is_some())
    }

    /// Under which address the machine sees a login from here, by its probing line or by its shell.
    pub(crate) async fn seen(&self) -> Result<IpAddr> {
        let machine = self.machine;
        let Some(probe) = self.dial().await? else {
            return Err(EnrollError::Failed(format!(
                "{machine} refuses the key though its line is there; see what its sshd logs: it may \
                 read another AuthorizedKeysFile, or AllowUsers may leave {} out",
                self.endpoint.user
            )));
        };
        let answer = probe
            .run(&ask())
            .await
            .map_err(|error| self.not_reached(&error))?;
        address(&answer.stdout).ok_or_else(|| {
            EnrollError::Failed(format!(
                "{machine} lets this machine in already and does not tell under which address; name it \
                 with --from in the place of here"
            ))
        })
    }

    async fn dial(&self) -> Result<Option<Probe>> {
        let failed = |error: std::io::Error| {
            EnrollError::Failed(format!(
                "no temporary file can be written: {error}; free space, then enroll again"
            ))
        };
        let mut known = tempfile::NamedTempFile::new().map_err(failed)?;
        let pins = pins::pinned("", &known_hosts_name(self.endpoint), self.host_keys);
        known.write_all(pins.as_bytes()).map_err(failed)?;
        let options = SshOptions {
            host_keys: HostKeyPolicy::Pin,
            ..SshOptions::new(Arc::clone(&self.key.private), known.path())
        };
        match Probe::dial(self.endpoint, &options, LIMIT).await {
            Ok(probe) => Ok(Some(probe)),
            Err(SshError::KeyRefused { .. }) => Ok(None),
            Err(SshError::HostKeyChanged { shown, .. }) => Err(EnrollError::Refused(format!(
                "{} shows the host key {shown} to this machine, and holds others in /etc/ssh: somebody \
                 may stand in between, or its sshd has a HostKey elsewhere; nothing more is done",
                self.machine
            ))),
            Err(error) => Err(self.not_reached(&error)),
        }
    }

    fn not_reached(&self, error: &SshError) -> EnrollError {
        let Endpoint { host, port, .. } = self.endpoint;
        EnrollError::Unreachable(format!(
            "{}: {error}; open port {port} of {host} for this machine, or run enroll where the server runs",
            self.machine
        ))
    }
}

/// Asks a shell for the address that a login came from.
fn ask() -> String {
    format!("echo {MARK} $SSH_CONNECTION")
}

/// The client's address in what the probing line printed.
fn address(said: &str) -> Option<IpAddr> {
    let line = said.lines().find_map(|line| line.strip_prefix(MARK))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Every login shell that an account may have, as sshd calls it.
    const SHELLS: [(&str, &[&str]); 10] = [
        ("sh", &["-c"]),
        ("dash", &["-c"]),
        ("bash", &["-c"]),
        ("zsh", &["-c"]),
        ("ksh", &["-c"]),
        ("mksh", &["-c"]),
        ("fish", &["-c"]),
        ("csh", &["-c"]),
        ("tcsh", &["-c"]),
        ("busybox", &["ash", "-c"]),
    ];

    #[test]
    fn every_login_shell_tells_the_address_and_hands_a_step_on() {
        for (shell, options) in SHELLS {
            let run = |command: &str| {
                let output = Command::new(shell)
                    .args(options)
                    .arg(command)
                    .env("SSH_CONNECTION", "192.0.2.7 40000 10.0.0.1 22")
                    .stdin(script())
                    .output()
                    .unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            assert_eq!(
                address(&run(&ask())),
                Some([192, 0, 2, 7].into()),
                "{shell}"
            );
            assert_eq!(run(super::super::operator::AS_ROOT), "a step\n", "{shell}");
        }
    }

    /// A step on a standard input.
    fn script() -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"echo 'a step'\n").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file
    }

    #[test]
    fn the_address_is_read_whatever_else_a_login_prints() {
        let said = format!("hello\n{MARK} 192.0.2.7 40000 10.0.0.1 22\n");
        assert_eq!(address(&said), Some([192, 0, 2, 7].into()));
        assert_eq!(address("refused: \"echo\""), None);
        assert_eq!(address(&format!("{MARK} nonsense")), None);
    }
}
