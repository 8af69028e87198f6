//! Child processes that can neither hang nor flood the gate.
//!
//! A child gets a list of arguments, an environment of two fixed variables, no input, no shell, a
//! timeout after which its process group is killed, and bounded memory for its output.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::deadline::with_timeout;

/// Maximum size of the output that is kept, for each of the two streams. The rest is discarded.
const OUTPUT_MAX_BYTES: usize = 512 * 1024;
/// How long a child may take to end after SIGTERM, and again after SIGKILL.
const SIGNAL_GRACE: Duration = Duration::from_millis(500);
/// How long the pipes are read after the child's end: a daemon that it left behind may hold them
/// open for ever.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(250);
/// Maximum pause between two checks whether the child has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// A child's environment, beside `LC_ALL`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The output of a program that exited with 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChildOutput {
    pub(crate) stdout: String,
    /// Warnings.
    pub(crate) stderr: String,
}

impl ChildOutput {
    /// Both streams, stderr last.
    pub(crate) fn combined(mut self) -> String {
        if !self.stdout.is_empty() && !self.stdout.ends_with('\n') {
            self.stdout.push('\n');
        }
        self.stdout + &self.stderr
    }
}

/// Why a program did not exit with 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChildError {
    /// Its output and how it ended.
    pub(crate) message: String,
    /// Whether it was killed at its timeout. What it began may still take effect.
    pub(crate) timed_out: bool,
}

impl From<String> for ChildError {
    fn from(message: String) -> ChildError {
        ChildError {
            message,
            timed_out: false,
        }
    }
}

impl ChildError {
    /// The same error, with the name of the command in front.
    pub(crate) fn of_command(self, command: &str) -> ChildError {
        ChildError {
            message: format!("{command}: {}", self.message),
            ..self
        }
    }
}

/// Runs `program` with `args` to its end, at most for `timeout`.
///
/// # Errors
/// The program could not be started, failed, or was killed at its timeout.
pub(crate) fn run(
    program: &Path,
    args: &[&str],
    timeout: Duration,
) -> Result<ChildOutput, ChildError> {
    let deadline = Instant::now() + timeout;
    let mut child = spawn(program, args, timeout)?;
    let mut capture = Capture::start(&mut child);
    let (status, timed_out) = wait(&mut child, &mut capture, deadline)?;
    let [stdout, stderr] = capture.finish();
    let how = match status {
        _ if timed_out => format!("not finished after {} s, killed", timeout.as_secs_f32()),
        Some(status) if status.success() => return Ok(ChildOutput { stdout, stderr }),
        Some(status) => status.to_string(),
        None => "its exit status is unknown".to_owned(),
    };
    let output = match (stderr.trim(), stdout.trim()) {
        ("", stdout) => stdout,
        (stderr, _) => stderr,
    };
    let message = match output {
        "" => how,
        output => format!("{} ({how})", output.replace('\n', "; ")),
    };
    Err(ChildError { message, timed_out })
}

/// Starts a child. Loading a program from a stuck disk takes for ever, so the wait is bounded.
fn spawn(program: &Path, args: &[&str], timeout: Duration) -> Result<Child, ChildError> {
    let name = program.display().to_string();
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs([("PATH", PATH), ("LC_ALL", "C")])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let what = name.clone();
    let spawned = with_timeout(timeout, &what, move || {
        let child = command.spawn();
        child.map_err(|error| format!("{name} can't be started: {error}"))
    });
    Ok(spawned?)
}

/// Waits for the child's end; at `deadline` its process group gets SIGTERM, then SIGKILL. Returns
/// its status, if it ended, and whether it timed out.
fn wait(
    child: &mut Child,
    capture: &mut Capture,
    deadline: Instant,
) -> Result<(Option<ExitStatus>, bool), ChildError> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // An error means that the group is already gone.
    let kill = |signal| group.map(|group| kill_process_group(group, signal));
    let mut signals = [Signal::TERM, Signal::KILL].into_iter();
    let mut next = deadline;
    let status = loop {
        if !capture.receive(POLL_INTERVAL) {
            thread::sleep(Duration::from_millis(1));
        }
        let status = child.try_wait();
        if let Some(status) = status.map_err(|error| ChildError::from(error.to_string()))? {
            break Some(status);
        }
        if Instant::now() >= next {
            match signals.next() {
                Some(signal) => _ = kill(signal),
                None => break None,
            }
            next += SIGNAL_GRACE;
        }
    };
    let timed_out = next > deadline;
    if timed_out {
        // Some members of the group may have ignored SIGTERM.
        let _ = kill(Signal::KILL);
    }
    Ok((status, timed_out))
}

/// The first bytes of a child's stdout and stderr. Both are read to their end.
struct Capture {
    blocks: Receiver<(usize, Vec<u8>)>,
    kept: [Vec<u8>; 2],
}

impl Capture {
    fn start(child: &mut Child) -> Capture {
        let (sender, blocks) = mpsc::sync_channel(16);
        read_blocks(child.stdout.take(), 0, sender.clone());
        read_blocks(child.stderr.take(), 1, sender);
        let kept = [Vec::new(), Vec::new()];
        Capture { blocks, kept }
    }

    /// Receives one block, waiting at most `timeout`. Returns whether a stream is still open.
    fn receive(&mut self, timeout: Duration) -> bool {
        match self.blocks.recv_timeout(timeout) {
            Ok((stream, block)) => {
                if let Some(kept) = self.kept.get_mut(stream) {
                    let room = OUTPUT_MAX_BYTES - kept.len();
                    kept.extend(block.iter().take(room));
                }
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        }
    }

    /// Receives the rest, and returns stdout and stderr.
    fn finish(mut self) -> [String; 2] {
        let ended = Instant::now();
        while ended.elapsed() < DRAIN_TIMEOUT && self.receive(POLL_INTERVAL) {}
        self.kept
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Sends a stream block by block, until it closes or the receiver is gone.
fn read_blocks(
    source: Option<impl Read + Send + 'static>,
    stream: usize,
    sender: SyncSender<(usize, Vec<u8>)>,
) {
    thread::spawn(move || {
        let mut source = source?;
        let mut block = [0; 16 * 1024];
        while let Ok(count @ 1..) = source.read(&mut block) {
            let bytes = block.get(..count)?.to_vec();
            sender.send((stream, bytes)).ok()?;
        }
        Some(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of the time that the hanging child would take; generous for an overloaded machine.
    const SOON: Duration = Duration::from_secs(30);

    fn sh(script: &str, seconds: u64) -> (Result<String, String>, Duration) {
        let (began, limit) = (Instant::now(), Duration::from_secs(seconds));
        let result = run(Path::new("/bin/sh"), &["-c", script], limit);
        let result = result.map(|output| output.stdout);
        (result.map_err(|error| error.message), began.elapsed())
    }

    #[test]
    fn child_gets_its_arguments_a_minimal_environment_and_no_input() {
        let limit = Duration::from_secs(20);
        let odd = "; id > /tmp/x $(id) `id`\n";
        let echo = run(Path::new("/bin/echo"), &["-n", odd], limit).unwrap();
        assert_eq!(echo.stdout, odd);
        let (seen, _) = sh(
            "read -r line; echo \"$?\"; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | sort",
            20,
        );
        assert_eq!(seen.unwrap(), format!("1\nLC_ALL=C\nPATH={}\n", PATH));
    }

    #[test]
    fn warnings_of_a_successful_child_are_kept() {
        let limit = Duration::from_secs(20);
        let script = "printf done; echo 'WARN: no swap' >&2";
        let output = run(Path::new("/bin/sh"), &["-c", script], limit).unwrap();
        assert_eq!(output.stderr, "WARN: no swap\n");
        assert_eq!(output.combined(), "done\nWARN: no swap\n");
    }

    #[test]
    fn error_of_a_failed_child_has_its_exit_code_and_stderr() {
        let (failed, _) = sh("echo doing; echo 'VM is locked (backup)' >&2; exit 255", 20);
        assert_eq!(
            failed.unwrap_err(),
            "VM is locked (backup) (exit status: 255)"
        );
        let (died, _) = sh("kill -KILL $$", 20);
        assert_eq!(died.unwrap_err(), "signal: 9 (SIGKILL)");
    }

    #[test]
    fn child_that_ignores_sigterm_is_killed_with_its_process_group() {
        let (late, took) = sh(
            "trap '' TERM; sleep 600 & echo $! >&2; while :; do sleep 1; done",
            5,
        );
        let late = late.unwrap_err();
        let (grandchild, how) = late.split_once(' ').unwrap();
        assert_eq!(how, "(not finished after 5 s, killed)");
        assert!(took < SOON, "{took:?}");
        let grandchild: u32 = grandchild.parse().unwrap();
        let deadline = Instant::now() + SOON;
        while crate::driver::process::read(grandchild).unwrap().is_some() {
            assert!(Instant::now() < deadline, "the grandchild is still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn flood_is_read_to_its_end_but_only_its_first_bytes_are_kept() {
        let (flood, _) = sh("head -c 50000000 /dev/zero; echo end >&2; exit 3", 60);
        assert_eq!(flood.unwrap_err(), "end (exit status: 3)");
        let (flood, _) = sh("head -c 50000000 /dev/zero", 60);
        assert_eq!(flood.unwrap().len(), OUTPUT_MAX_BYTES);
    }

    #[test]
    fn endless_flood_stops_at_the_timeout() {
        let (flood, took) = sh("exec cat /dev/zero", 1);
        assert!(
            flood
                .unwrap_err()
                .ends_with("(not finished after 1 s, killed)")
        );
        assert!(took < SOON, "{took:?}");
    }

    #[test]
    fn daemon_that_keeps_the_pipe_open_is_neither_awaited_nor_killed() {
        let (done, took) = sh("setsid sleep 60 & echo $!", 60);
        assert!(took < SOON, "{took:?}");
        let daemon: u32 = done.unwrap().trim().parse().unwrap();
        assert!(crate::driver::process::read(daemon).unwrap().is_some());
        let daemon = Pid::from_raw(daemon.try_into().unwrap()).unwrap();
        rustix::process::kill_process(daemon, Signal::KILL).unwrap();
    }

    #[test]
    fn missing_program_is_an_error() {
        let limit = Duration::from_secs(1);
        assert!(run(Path::new("/nonexistent/qm"), &[], limit).is_err());
    }
}
