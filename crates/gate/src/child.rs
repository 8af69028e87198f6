//! Bounded child processes: a list of arguments, an empty environment, a deadline, no shell.
//!
//! One thread, one loop: wait on both pipes at once, take what comes, stop at the deadline. A
//! grandchild that keeps a pipe open is not waited for, and a flood is read but not kept.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long after the end of a child its pipes are still read: a daemon that it left behind may
/// hold them open for ever.
const AFTER_EXIT: Duration = Duration::from_millis(250);
/// How long a child has after SIGTERM, and its corpse after SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// Longest pause between two looks at whether the child has ended.
const LOOK: Duration = Duration::from_millis(20);
/// All that a child gets to see of an environment.
const ENVIRONMENT: [(&str, &str); 2] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("LC_ALL", "C"),
];

/// How much a child may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From start to end; then its process group is killed.
    pub(crate) deadline: Duration,
    /// Bytes kept of each of its streams; the rest is read and dropped.
    pub(crate) bytes: usize,
}

/// What became of a child.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) end: End,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Signalled(i32),
    /// Ended by us after this long.
    Late(Duration),
    /// As [`End::Late`], and it outlived SIGKILL too: it sits in the kernel.
    Stuck(Duration),
}

impl Finished {
    /// The standard output of a child that exited with 0.
    ///
    /// # Errors
    /// A sentence with its exit code and its words, or with how else it ended.
    pub(crate) fn success(self) -> Result<String, String> {
        let how = match self.end {
            End::Exited(0) => return Ok(self.stdout),
            End::Exited(code) => format!("exit code {code}"),
            End::Signalled(signal) => format!("died by signal {signal}"),
            End::Late(after) => format!("no end after {} s, killed", after.as_secs()),
            End::Stuck(after) => {
                format!(
                    "no end after {} s, and SIGKILL does not end it",
                    after.as_secs()
                )
            }
        };
        let words = [self.stderr.trim(), self.stdout.trim()];
        Err(match words.into_iter().find(|text| !text.is_empty()) {
            Some(text) => format!("{} ({how})", text.replace('\n', "; ")),
            None => how,
        })
    }
}

/// Runs `program` with `args` to its end, or to the end of its `bounds`.
///
/// # Errors
/// When it can't be started.
pub(crate) fn run(program: &Path, args: &[&str], bounds: Bounds) -> io::Result<Finished> {
    let child = Command::new(program)
        .args(args)
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    Running::new(child, bounds).finish()
}

struct Running {
    child: Child,
    bounds: Bounds,
    began: Instant,
    stdout: Pipe,
    stderr: Pipe,
}

impl Running {
    fn new(mut child: Child, bounds: Bounds) -> Running {
        let stdout = Pipe::new(child.stdout.take().map(Into::into), bounds.bytes);
        let stderr = Pipe::new(child.stderr.take().map(Into::into), bounds.bytes);
        Running {
            child,
            bounds,
            began: Instant::now(),
            stdout,
            stderr,
        }
    }

    fn finish(mut self) -> io::Result<Finished> {
        let end = match self.until(self.began + self.bounds.deadline)? {
            Some(status) => ended(status),
            None => self.kill()?,
        };
        self.drain()?;
        Ok(Finished {
            end,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        })
    }

    /// Reads until the child has ended (its status) or the time has come (nothing).
    fn until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.read(left.min(LOOK))?;
        }
    }

    fn kill(&mut self) -> io::Result<End> {
        let after = self.bounds.deadline;
        for signal in [Signal::TERM, Signal::KILL] {
            self.signal(signal);
            if self.until(Instant::now() + GRACE)?.is_some() {
                // Members of the group that ignored SIGTERM must not outlive its leader.
                self.signal(Signal::KILL);
                return Ok(End::Late(after));
            }
        }
        Ok(End::Stuck(after))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // A group that is gone already is what was wanted.
        let _ = pid.map(|pid| kill_process_group(pid, signal));
    }

    /// Takes what is left in the pipes, until they close or for a short while.
    fn drain(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + AFTER_EXIT;
        while self.stdout.source.is_some() || self.stderr.source.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.read(left)?;
        }
        Ok(())
    }

    /// Waits for output, at most for `wait`, and takes one block from each pipe that has some.
    fn read(&mut self, wait: Duration) -> io::Result<()> {
        let ready: Vec<bool> = {
            let pipes = [&self.stdout, &self.stderr];
            let mut set: Vec<PollFd<'_>> = pipes
                .iter()
                .filter_map(|pipe| pipe.source.as_ref())
                .map(|source| PollFd::new(source, PollFlags::IN))
                .collect();
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(wait.min(LOOK).subsec_nanos()),
            };
            match poll(&mut set, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut events = set.iter().map(|fd| !fd.revents().is_empty());
            pipes
                .iter()
                .map(|p| p.source.is_some() && events.next().unwrap_or(false))
                .collect()
        };
        for (pipe, ready) in [&mut self.stdout, &mut self.stderr].into_iter().zip(ready) {
            if ready {
                pipe.take();
            }
        }
        Ok(())
    }
}

fn ended(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or_default()),
    }
}

/// One stream of a child: what is kept of it, until it closes.
struct Pipe {
    source: Option<std::fs::File>,
    kept: Vec<u8>,
    limit: usize,
    dropped: usize,
}

impl Pipe {
    fn new(source: Option<std::os::fd::OwnedFd>, limit: usize) -> Pipe {
        Pipe {
            source: source.map(Into::into),
            kept: Vec::new(),
            limit,
            dropped: 0,
        }
    }

    /// One block; it is there, so this does not wait. The end and an error close the pipe.
    fn take(&mut self) {
        let mut block = [0; 16 * 1024];
        let read = self
            .source
            .as_mut()
            .map_or(Ok(0), |source| source.read(&mut block));
        match read {
            Ok(count) if count > 0 => {
                let room = self.limit.saturating_sub(self.kept.len()).min(count);
                self.kept
                    .extend_from_slice(block.get(..room).unwrap_or_default());
                self.dropped += count - room;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.source = None,
        }
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.kept).into_owned();
        if self.dropped > 0 {
            text.push_str(&format!("\n[{} more bytes were dropped]\n", self.dropped));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, seconds: u64) -> (Finished, Duration) {
        let began = Instant::now();
        let bounds = Bounds {
            deadline: Duration::from_secs(seconds),
            bytes: 4096,
        };
        (
            run(Path::new("/bin/sh"), &["-c", script], bounds).unwrap(),
            began.elapsed(),
        )
    }

    #[test]
    fn a_child_sees_its_arguments_a_bare_environment_and_no_input() {
        let bounds = Bounds {
            deadline: Duration::from_secs(20),
            bytes: 4096,
        };
        let odd = "; id > /tmp/x $(id) `id`\n";
        let echo = run(Path::new("/bin/echo"), &["-n", odd], bounds).unwrap();
        assert_eq!(echo.success().unwrap(), odd);
        let (seen, _) = sh(
            "read -r line; echo \"$?\"; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | sort",
            20,
        );
        assert_eq!(
            seen.stdout,
            format!("1\nLC_ALL=C\nPATH={}\n", ENVIRONMENT[0].1)
        );
    }

    #[test]
    fn a_failure_tells_exit_code_and_words() {
        let (failed, _) = sh("echo doing; echo 'VM is locked (backup)' >&2; exit 255", 20);
        assert_eq!(
            failed.success().unwrap_err(),
            "VM is locked (backup) (exit code 255)"
        );
        let (died, _) = sh("kill -SEGV $$", 20);
        assert_eq!(died.success().unwrap_err(), "died by signal 11");
    }

    #[test]
    fn a_child_that_hangs_and_ignores_sigterm_is_killed_with_its_whole_group() {
        let (late, took) = sh(
            "trap '' TERM; sleep 600 & echo $!; while :; do sleep 1; done",
            1,
        );
        assert_eq!(late.end, End::Late(Duration::from_secs(1)));
        assert!(took < Duration::from_secs(10), "{took:?}");
        let grandchild: u32 = late.stdout.trim().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while crate::driver::proc::look(grandchild).unwrap().is_some() {
            assert!(Instant::now() < deadline, "the grandchild lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_flood_is_read_to_its_end_but_only_the_first_bytes_are_kept() {
        let (flood, _) = sh("head -c 50000000 /dev/zero; echo end >&2", 60);
        assert_eq!(
            (flood.end, flood.stderr.as_str()),
            (End::Exited(0), "end\n")
        );
        assert!(flood.stdout.len() < 4200 && flood.stdout.contains("49995904 more bytes"));
    }

    #[test]
    fn a_flood_without_end_stops_at_the_deadline() {
        let (flood, took) = sh("exec cat /dev/zero", 1);
        assert_eq!(flood.end, End::Late(Duration::from_secs(1)));
        assert!(took < Duration::from_secs(10), "{took:?}");
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_open_is_neither_waited_for_nor_killed() {
        let (done, took) = sh("setsid sleep 3 & echo $!", 60);
        assert_eq!(done.end, End::Exited(0));
        assert!(took < Duration::from_secs(2), "{took:?}");
        let daemon: u32 = done.stdout.trim().parse().unwrap();
        assert!(crate::driver::proc::look(daemon).unwrap().is_some());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let bounds = Bounds {
            deadline: Duration::from_secs(1),
            bytes: 1,
        };
        assert!(run(Path::new("/nonexistent/qm"), &[], bounds).is_err());
    }
}
