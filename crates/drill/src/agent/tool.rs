//! Runs a command as the CLI's Bash tool does: in a shell, in its own process group.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Maximum bytes kept of each stream.
const OUTPUT_MAX_BYTES: usize = 64 * 1024;
/// The CLI's variable for the timeout of a command in milliseconds. A command that waits for the
/// operator's permission waits that long.
const TIMEOUT_VARIABLE: &str = "BASH_DEFAULT_TIMEOUT_MS";
/// The default timeout, and the longest.
const TIMEOUT_MAX: Duration = Duration::from_secs(10 * 60);
/// The exit code of a command that the bastion did not permit.
const NOT_PERMITTED: i32 = 126;
/// The beginning of the bastion's messages.
const BASTION_PREFIX: &str = "breakglass: ";
const POLL_INTERVAL: Duration = Duration::from_millis(15);

/// The result of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// `None` if the command was killed.
    pub(super) code: Option<i32>,
}

impl Ran {
    pub(super) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// The bastion's message, if it did not permit the command.
    pub(super) fn refusal(&self) -> Option<&str> {
        let mut lines = self.stderr.lines();
        let message = lines.find_map(|line| line.strip_prefix(BASTION_PREFIX));
        message.filter(|_| self.code == Some(NOT_PERMITTED))
    }

    /// Both streams, as the tool's result shows them.
    pub(super) fn text(&self) -> String {
        let (stdout, stderr) = (self.stdout.trim_end(), self.stderr.trim_end());
        let separator = if stdout.is_empty() || stderr.is_empty() {
            ""
        } else {
            "\n"
        };
        format!("{stdout}{separator}{stderr}")
    }
}

/// Runs `script` until it exits, or until `is_stopped`: then kills its process group and returns
/// `None`.
pub(super) fn run(script: &str, is_stopped: impl FnMut() -> bool) -> std::io::Result<Option<Ran>> {
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child, is_stopped)?;
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    Ok(status.map(|status| Ran {
        stdout,
        stderr,
        code: status.code(),
    }))
}

/// Waits for the exit of a command; `None` if it was stopped.
fn wait(
    child: &mut Child,
    mut is_stopped: impl FnMut() -> bool,
) -> std::io::Result<Option<ExitStatus>> {
    let (began, timeout) = (Instant::now(), timeout());
    loop {
        if let Some(status) = child.try_wait()? {
            // A process that the command left behind would keep its output open.
            kill_group(child);
            return Ok(Some(status));
        }
        let was_stopped = is_stopped();
        if was_stopped || began.elapsed() > timeout {
            kill_group(child);
            let status = child.wait()?;
            return Ok((!was_stopped).then_some(status));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn timeout() -> Duration {
    let variable = std::env::var(TIMEOUT_VARIABLE).ok();
    let timeout = variable.and_then(|ms| ms.parse().ok());
    timeout
        .map_or(TIMEOUT_MAX, Duration::from_millis)
        .min(TIMEOUT_MAX)
}

fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Fails if the group is empty, which is the goal.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

type Drained = Option<JoinHandle<Vec<u8>>>;

/// Reads a stream to its end on a separate thread, and keeps the beginning.
fn drain(stream: Option<impl Read + Send + 'static>) -> Drained {
    let mut stream = stream?;
    let reading = move || {
        let (mut kept, mut chunk) = (Vec::new(), [0; 8192]);
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            let free = OUTPUT_MAX_BYTES - kept.len();
            kept.extend_from_slice(&chunk[..read.min(free)]);
        }
        kept
    };
    let thread = std::thread::Builder::new().name("tool-output".to_owned());
    thread.spawn(reading).ok()
}

fn collect(drained: Drained) -> String {
    let bytes = drained.and_then(|thread| thread.join().ok());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_returns_its_output_and_exit_code() {
        let ran = run("echo out; echo err >&2; exit 3", || false)
            .unwrap()
            .unwrap();
        assert_eq!((ran.text().as_str(), ran.code), ("out\nerr", Some(3)));
    }

    #[test]
    fn only_a_message_of_the_bastion_is_a_refusal() {
        let ran = |script: &str| run(script, || false).unwrap().unwrap();
        let denied = ran("echo 'breakglass: the operator denied it: no' >&2; exit 126");
        assert_eq!(denied.refusal(), Some("the operator denied it: no"));
        for script in [
            "echo 'sh: x: Permission denied' >&2; exit 126",
            "echo 'breakglass: well' >&2",
        ] {
            assert_eq!(ran(script).refusal(), None, "{script}");
        }
    }

    #[test]
    fn a_stopped_command_ends_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("alive");
        let script = format!("mkfifo {0}; (sleep 300 > {0}) & cat {0}", fifo.display());
        // `cat` ends only after the last writer, a grandchild, has ended.
        let began = Instant::now();
        let ran = run(&script, || began.elapsed() > Duration::from_millis(200)).unwrap();
        assert_eq!(ran, None);
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
