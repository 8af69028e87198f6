//! Runs a command as the CLI's Bash tool does: in a shell, in a process group of its own.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Bytes kept of each stream.
const MAX_OUTPUT: usize = 64 * 1024;
/// Names how long a command may run, in milliseconds, as the real tool reads it: a question about the
/// command waits for its answer that long.
const LIMIT: &str = "BASH_DEFAULT_TIMEOUT_MS";
/// How long it may run where nothing names it, and at the most.
const DEADLINE: Duration = Duration::from_secs(10 * 60);
/// What a command exits with that the bastion did not let begin.
const NOT_PERMITTED: i32 = 126;
/// How the bastion's own words begin.
const BASTION: &str = "breakglass: ";
const LOOK: Duration = Duration::from_millis(15);

/// What a command did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// `None` when it was killed.
    pub(super) code: Option<i32>,
}

impl Ran {
    pub(super) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Why it was not run, in the bastion's words; none for what ran.
    pub(super) fn refusal(&self) -> Option<&str> {
        let mut lines = self.stderr.lines();
        let refused = self.code == Some(NOT_PERMITTED);
        refused
            .then(|| lines.find_map(|line| line.strip_prefix(BASTION)))
            .flatten()
    }

    /// Both streams, as the tool's result shows them.
    pub(super) fn text(&self) -> String {
        let parts = [self.stdout.trim_end(), self.stderr.trim_end()];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Runs `script`; ends its whole process group as soon as `stopped` says so. `None` then.
pub(super) fn run(script: &str, mut stopped: impl FnMut() -> bool) -> std::io::Result<Option<Ran>> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(script)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let streams = (drain(child.stdout.take()), drain(child.stderr.take()));
    let (status, was_stopped) = wait(&mut child, &mut stopped)?;
    let ran = Ran {
        stdout: collect(streams.0),
        stderr: collect(streams.1),
        code: status.code(),
    };
    Ok((!was_stopped).then_some(ran))
}

fn wait(
    child: &mut Child,
    stopped: &mut impl FnMut() -> bool,
) -> std::io::Result<(ExitStatus, bool)> {
    let (began, deadline) = (Instant::now(), deadline());
    loop {
        if let Some(status) = child.try_wait()? {
            // What the command left running would hold its output open for ever.
            end_group(child);
            return Ok((status, false));
        }
        let was_stopped = stopped();
        if was_stopped || began.elapsed() > deadline {
            end_group(child);
            return Ok((child.wait()?, was_stopped));
        }
        std::thread::sleep(LOOK);
    }
}

fn deadline() -> Duration {
    let named = std::env::var(LIMIT).ok().and_then(|ms| ms.parse().ok());
    named.map_or(DEADLINE, |ms| Duration::from_millis(ms).min(DEADLINE))
}

fn end_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Nobody left in it is what is wanted.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

type Drained = Option<JoinHandle<Vec<u8>>>;

/// Reads a stream to its end on a thread of its own and keeps its beginning.
fn drain(stream: Option<impl Read + Send + 'static>) -> Drained {
    let mut stream = stream?;
    let reading = move || {
        let (mut kept, mut chunk) = (Vec::new(), [0; 8192]);
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            let room = MAX_OUTPUT.saturating_sub(kept.len());
            kept.extend_from_slice(&chunk[..read.min(room)]);
        }
        kept
    };
    std::thread::Builder::new()
        .name("tool-output".to_owned())
        .spawn(reading)
        .ok()
}

fn collect(drained: Drained) -> String {
    let bytes = drained
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_tells_its_output_and_its_exit_code() {
        let ran = run("echo out; echo err >&2; exit 3", || false)
            .unwrap()
            .unwrap();
        assert_eq!((ran.text().as_str(), ran.code), ("out\nerr", Some(3)));
    }

    #[test]
    fn a_refusal_is_the_bastions_word_and_no_other_programs() {
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
    fn a_stopped_command_takes_its_children_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("alive");
        let script = format!("mkfifo {0}; (sleep 300 > {0}) & cat {0}", fifo.display());
        // `cat` ends only when the last writer, a grandchild, is gone.
        let began = Instant::now();
        let ran = run(&script, || began.elapsed() > Duration::from_millis(200)).unwrap();
        assert_eq!(ran, None);
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
