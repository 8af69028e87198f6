//! The operator's own `ssh`: with his configuration, his agent, and his terminal for passwords.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use breakglass_model::visible;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::error::{EnrollError, Result};

/// Longest wait for one step; a person may have to type a password.
const LIMIT: Duration = Duration::from_secs(300);
/// The most that is kept of what a step prints.
const KEPT: u64 = 256 * 1024;
/// What ssh exits with where it did not get through.
const NOT_THROUGH: i32 = 255;

/// Runs the script on its input as root.
pub(crate) const AS_ROOT: &str =
    "exec sh -c 'if [ \"$(id -u)\" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi'";
/// Keeps its input beside the gate, for root alone and not to be run.
pub(crate) const RECEIVE: &str = "exec sh -c 'umask 077; new=/usr/local/sbin/breakglass-gate.new; \
     if [ \"$(id -u)\" = 0 ]; then exec cat >$new; \
     else exec sudo -n sh -c \"umask 077; exec cat >$new\"; fi'";

/// Where a step is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a> {
    /// The machine's name for messages.
    pub machine: &'a str,
    /// The destination, as ssh takes it.
    pub destination: &'a str,
    /// The option by which another destination is given.
    pub option: &'a str,
    pub ssh_config: Option<&'a Path>,
}

impl Login<'_> {
    /// Gives `input` to `remote` there; what it printed.
    ///
    /// # Errors
    /// When it was not reached, let nobody become root, or did not succeed.
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
        match timeout(LIMIT, converse(command, input)).await {
            Ok(Ok((code, out, errors))) => self.judge(code, out, &errors),
            Ok(Err(error)) => Err(EnrollError::Failed(format!(
                "{}: ssh could not be run: {error}; install an OpenSSH client",
                self.machine
            ))),
            Err(_) => Err(EnrollError::Unreachable(format!(
                "{}: `ssh {}` took longer than {} s; try it by hand, then enroll again",
                self.machine,
                self.destination,
                LIMIT.as_secs()
            ))),
        }
    }

    fn judge(&self, code: Option<i32>, out: String, errors: &str) -> Result<String> {
        let Login {
            machine,
            destination,
            option,
            ..
        } = self;
        let said = visible(errors.trim());
        match code {
            Some(0) => Ok(out),
            Some(NOT_THROUGH) | None => Err(EnrollError::Unreachable(format!(
                "{machine}: `ssh {destination}` did not get through ({said}); see that it works by \
                 hand, or name another login with {option}, then enroll again"
            ))),
            Some(_) if said.contains("sudo: ") => Err(EnrollError::Refused(format!(
                "{machine}: {destination} does not become root without a password ({said}); log in as \
                 root with {option}, or leave --run out and paste what is printed"
            ))),
            Some(code) => Err(EnrollError::Failed(format!(
                "{machine}: the step ended with code {code}: {said}"
            ))),
        }
    }
}

/// Writes all of `input` and reads both streams at the same time, so that none waits for another.
async fn converse(
    mut command: Command,
    input: &[u8],
) -> std::io::Result<(Option<i32>, String, String)> {
    let mut child = command.spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // Who does not read it all says why on its own streams.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), out, errors) = tokio::join!(write, read(stdout), read(stderr));
    let status = child.wait().await?;
    Ok((status.code(), out, errors))
}

/// The beginning; the rest is read and dropped.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        let _ = (&mut stream).take(KEPT).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}
