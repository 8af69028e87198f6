//! Test logins with the enrolled key, over the same connection as the server's. Host keys must match those that were read
//! on the machine, so a man in the middle is detected.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use breakglass_control::ssh::{Probe, SshError, known_hosts_name};
use breakglass_control::{Endpoint, HostKeyPolicy, SshOptions};

use super::error::{EnrollError, Result};
use super::key_line::{PROBE_PREFIX, PublicHalf};
use super::keys::KeyPair;
use super::pins;

/// Timeout of one login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A login with the key on one machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TestLogin<'a> {
    pub machine: &'a str,
    pub endpoint: &'a Endpoint,
    pub key: &'a KeyPair,
    /// The machine's host keys.
    pub host_keys: &'a [PublicHalf],
}

impl TestLogin<'_> {
    /// Whether the machine accepts the key from here.
    pub(crate) async fn succeeds(&self) -> Result<bool> {
        Ok(self.dial().await?.is_some())
    }

    /// The address under which the machine sees this one, printed by the probing line or by a shell.
    pub(crate) async fn seen_address(&self) -> Result<IpAddr> {
        let machine = self.machine;
        let Some(probe) = self.dial().await? else {
            return Err(EnrollError::Failed(format!(
                "{machine} refuses the key although its line exists; check the log of its sshd: it may \
                 read another AuthorizedKeysFile, or AllowUsers may not contain {}",
                self.endpoint.user
            )));
        };
        let answer = probe
            .run(&ask())
            .await
            .map_err(|error| self.not_reached(&error))?;
        address(&answer.stdout).ok_or_else(|| {
            EnrollError::Failed(format!(
                "{machine} accepts a login from here but does not print the address; name it \
                 with --from instead of here"
            ))
        })
    }

    async fn dial(&self) -> Result<Option<Probe>> {
        let failed = |error: std::io::Error| {
            EnrollError::Failed(format!(
                "a temporary file cannot be written: {error}; free space, then enroll again"
            ))
        };
        let mut known_hosts = tempfile::NamedTempFile::new().map_err(failed)?;
        let pins = pins::pinned("", &known_hosts_name(self.endpoint), self.host_keys);
        known_hosts.write_all(pins.as_bytes()).map_err(failed)?;
        let options = SshOptions {
            host_keys: HostKeyPolicy::Pin,
            ..SshOptions::new(Arc::clone(&self.key.private), known_hosts.path())
        };
        match Probe::dial(self.endpoint, &options, LOGIN_TIMEOUT).await {
            Ok(probe) => Ok(Some(probe)),
            Err(SshError::KeyRefused { .. }) => Ok(None),
            Err(SshError::HostKeyChanged { shown, .. }) => Err(EnrollError::Refused(format!(
                "{} presents the host key {shown} to this machine, but has other keys in /etc/ssh: another \
                 machine may be intercepting the connection, or its sshd has a HostKey elsewhere; nothing \
                 more is done",
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
    format!("echo {PROBE_PREFIX} $SSH_CONNECTION")
}

/// The client's address in the output of the probing line.
fn address(output: &str) -> Option<IpAddr> {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix(PROBE_PREFIX))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// All supported login shells, called as sshd does.
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
    fn every_login_shell_prints_the_address_and_runs_a_script() {
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

    /// A script for standard input.
    fn script() -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"echo 'a step'\n").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        file
    }

    #[test]
    fn address_is_found_among_other_output() {
        let output = format!("hello\n{PROBE_PREFIX} 192.0.2.7 40000 10.0.0.1 22\n");
        assert_eq!(address(&output), Some([192, 0, 2, 7].into()));
        assert_eq!(address("refused: \"echo\""), None);
        assert_eq!(address(&format!("{PROBE_PREFIX} nonsense")), None);
    }
}
