//! Runs scripts through the operator's own `ssh`, with the operator's configuration, SSH agent and terminal.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use breakglass_model::visible;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::error::{EnrollError, Result};

/// Timeout of one script; a person may have to type a password.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum size of a script's output; the rest is discarded.
const OUTPUT_MAX_BYTES: u64 = 256 * 1024;
/// Exit code of ssh if it could not connect.
const SSH_FAILED: i32 = 255;

/// Runs the script on standard input as root.
pub(crate) const AS_ROOT: &str =
    "exec sh -c 'if [ \"$(id -u)\" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi'";
/// Saves standard input next to the gate, readable only for root and not executable.
pub(crate) const RECEIVE: &str = "exec sh -c 'umask 077; new=/usr/local/sbin/breakglass-gate.new; \
     if [ \"$(id -u)\" = 0 ]; then exec cat >$new; \
     else exec sudo -n sh -c \"umask 077; exec cat >$new\"; fi'";

/// A login of the operator on one machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a> {
    /// The machine's name in messages.
    pub machine: &'a str,
    /// The destination, in the syntax of ssh.
    pub destination: &'a str,
    /// The option of enrolment that sets another destination.
    pub option: &'a str,
    pub ssh_config: Option<&'a Path>,
}

impl Login<'_> {
    /// Runs the command `remote` with `input`, and returns its output.
    ///
    /// # Errors
    /// If the machine is unreachable, the operator cannot become root, or the command fails.
    pub(crate) async fn run(&self, remote: &str, input: &[u8]) -> Result<String> {
        let mut command = Command::new("ssh");
        command.arg("-T");
        if let Some(config) = self.ssh_config {
            command.arg("-F").arg(config);
        }
        command.args(["--", self.destination, remote]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        match timeout(SCRIPT_TIMEOUT, communicate(command, input)).await {
            Ok(Ok((code, out, errors))) => self.result(code, out, &errors),
            Ok(Err(error)) => Err(EnrollError::Failed(format!(
                "{}: ssh cannot be started: {error}; install an OpenSSH client",
                self.machine
            ))),
            Err(_) => Err(EnrollError::Unreachable(format!(
                "{}: `ssh {}` took longer than {} s; try it by hand, then enroll again",
                self.machine,
                self.destination,
                SCRIPT_TIMEOUT.as_secs()
            ))),
        }
    }

    fn result(&self, code: Option<i32>, out: String, errors: &str) -> Result<String> {
        let Login {
            machine,
            destination,
            option,
            ..
        } = self;
        let message = visible(errors.trim());
        match code {
            Some(0) => Ok(out),
            Some(SSH_FAILED) | None => Err(EnrollError::Unreachable(format!(
                "{machine}: `ssh {destination}` failed ({message}); check that it works by \
                 hand, or name another login with {option}, then enroll again"
            ))),
            Some(_) if message.contains("sudo: ") => Err(EnrollError::Refused(format!(
                "{machine}: {destination} cannot become root without a password ({message}); log in as \
                 root with {option}, or omit --run and paste the printed steps"
            ))),
            Some(code) => Err(EnrollError::Failed(format!(
                "{machine}: the script exited with {code}: {message}"
            ))),
        }
    }
}

/// Writes `input` and reads both output streams concurrently, so that no pipe blocks another.
async fn communicate(
    mut command: Command,
    input: &[u8],
) -> std::io::Result<(Option<i32>, String, String)> {
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // If the command does not read all input, its output explains why.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), out, errors) = tokio::join!(write, read(stdout), read(stderr));
    let status = child.wait().await?;
    Ok((status.code(), out, errors))
}

/// Reads the start of the stream; the rest is read and discarded.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        let _ = (&mut stream)
            .take(OUTPUT_MAX_BYTES)
            .read_to_end(&mut kept)
            .await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}
