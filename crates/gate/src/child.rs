//! Everything that may hang, bounded: children, and whatever a thread is sent to do.
//!
//! A child gets a list of arguments, an environment of two fixed variables, no input, no shell, a
//! deadline after which its process group is killed, and bounded memory for its output. Reading a
//! file may hang as well (`/proc` of a wedged process, a cluster file system), so that is done by a
//! thread that is left behind when its time is over ([`crate::file`]).

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Bytes kept of what a child prints.
const LARGEST: u64 = 512 * 1024;
/// How long a child has after SIGTERM, and its corpse after SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// How long after the end of a child its pipes are still read: a daemon that it left behind may
/// hold them open for ever.
const AFTER_EXIT: Duration = Duration::from_millis(250);
/// Longest pause between two looks at whether the child has ended.
const LOOK: Duration = Duration::from_millis(10);
/// All that a child gets to see of an environment, beside `LC_ALL`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `work` gives within `limit`; `what` names it in the error.
///
/// # Errors
/// Those of `work`, and that the time is over. The thread is then left to itself.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (tell, told) = mpsc::sync_channel(1);
    let body = move || drop(tell.send(work()));
    let spawned = thread::Builder::new().spawn(body);
    spawned.map_err(|error| format!("{what}: no thread for it: {error}"))?;
    let late = |_| {
        Err(format!(
            "{what}: no answer within {} s",
            limit.as_secs_f32()
        ))
    };
    told.recv_timeout(limit).unwrap_or_else(late)
}

/// What a program printed that exited with 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error: what it warned of.
    pub(crate) warned: String,
}

impl Said {
    /// All of it, the warnings last.
    pub(crate) fn all(self) -> String {
        let between = match self.out.is_empty() || self.out.ends_with('\n') {
            true => "",
            false => "\n",
        };
        self.out + between + &self.warned
    }
}

/// A program that did not exit with 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Broken {
    /// What it said, and how it ended.
    pub(crate) words: String,
    /// Whether its time was over: what it began may still come.
    pub(crate) is_late: bool,
}

impl From<String> for Broken {
    fn from(words: String) -> Broken {
        let is_late = false;
        Broken { words, is_late }
    }
}

impl Broken {
    /// The same, after the command that it was.
    pub(crate) fn of(self, command: &str) -> Broken {
        let words = format!("{command}: {}", self.words);
        Broken { words, ..self }
    }
}

/// Runs `program` with `args` to its end, at most `limit`; what it printed if it exits with 0.
///
/// # Errors
/// A sentence with its words and how it ended.
pub(crate) fn run(program: &Path, args: &[&str], limit: Duration) -> Result<Said, Broken> {
    let began = Instant::now();
    let mut child = spawn(program, args, limit)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // A group that is gone already is what was wanted.
    let kill = |signal| group.map(|group| kill_process_group(group, signal));
    let (tell, told) = mpsc::sync_channel(16);
    pump(child.stdout.take(), 0, tell.clone());
    pump(child.stderr.take(), 1, tell);
    let mut kept = [Vec::new(), Vec::new()];
    let mut take = |wait| match told.recv_timeout(wait) {
        Ok((stream, block)) => {
            keep(kept.get_mut::<usize>(stream), &block);
            true
        }
        Err(RecvTimeoutError::Timeout) => true,
        Err(RecvTimeoutError::Disconnected) => false,
    };
    let mut steps = [Some(Signal::TERM), Some(Signal::KILL), None].into_iter();
    let mut next = limit;
    let status = loop {
        if !take(LOOK) {
            thread::sleep(Duration::from_millis(1));
        }
        if let Some(status) = child
            .try_wait()
            .map_err(|error| Broken::from(error.to_string()))?
        {
            break Some(status);
        }
        if began.elapsed() >= next {
            match steps.next().flatten() {
                Some(signal) => _ = kill(signal),
                None => break None,
            }
            next += GRACE;
        }
    };
    let late = next > limit;
    if late {
        // Members of the group that ignored SIGTERM must not outlive its leader.
        let _ = kill(Signal::KILL);
    }
    let ended = Instant::now();
    while ended.elapsed() < AFTER_EXIT && take(LOOK) {}
    let [stdout, stderr] = kept.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let how = match (status, late) {
        (Some(status), false) if status.success() => {
            return Ok(Said {
                out: stdout,
                warned: stderr,
            });
        }
        (Some(status), false) => status.to_string(),
        (_, true) => format!("no end after {} s, killed", limit.as_secs_f32()),
        (None, false) => "its end was not seen".to_owned(),
    };
    let words = match stderr.trim() {
        "" if stdout.trim().is_empty() => how,
        "" => format!("{} ({how})", stdout.trim().replace('\n', "; ")),
        words => format!("{} ({how})", words.replace('\n', "; ")),
    };
    let is_late = late;
    Err(Broken { words, is_late })
}

/// Starts a child. To load a program from a disk that is stuck takes for ever, so that is waited for
/// no longer than `limit`.
fn spawn(program: &Path, args: &[&str], limit: Duration) -> Result<Child, Broken> {
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
    let named = name.clone();
    let spawned = within(limit, &name, move || {
        let child = command.spawn();
        child.map_err(|error| format!("{named} can't be started: {error}"))
    });
    Ok(spawned?)
}

/// Sends what comes from a stream, block by block, until it closes or nobody takes it any more.
fn pump(
    mut source: Option<impl Read + Send + 'static>,
    stream: usize,
    to: SyncSender<(usize, Vec<u8>)>,
) {
    thread::spawn(move || {
        let mut block = [0; 16 * 1024];
        while let Some(Ok(count @ 1..)) = source.as_mut().map(|source| source.read(&mut block)) {
            let sent = block
                .get(..count)
                .map(|bytes| to.send((stream, bytes.to_vec())));
            if !matches!(sent, Some(Ok(()))) {
                break;
            }
        }
    });
}

/// Keeps the first bytes; a flood is read to its end, but not kept.
fn keep(kept: Option<&mut Vec<u8>>, block: &[u8]) {
    let Some(kept) = kept else { return };
    let most = usize::try_from(LARGEST).unwrap_or(usize::MAX);
    let room = most.saturating_sub(kept.len()).min(block.len());
    kept.extend_from_slice(block.get(..room).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of what would be waited for in vain; the rest is for a machine that others use.
    const SOON: Duration = Duration::from_secs(30);

    fn sh(script: &str, seconds: u64) -> (Result<String, String>, Duration) {
        let (began, limit) = (Instant::now(), Duration::from_secs(seconds));
        let result = run(Path::new("/bin/sh"), &["-c", script], limit);
        let result = result.map(|said| said.out);
        (result.map_err(|broken| broken.words), began.elapsed())
    }

    #[test]
    fn a_child_sees_its_arguments_a_bare_environment_and_no_input() {
        let limit = Duration::from_secs(20);
        let odd = "; id > /tmp/x $(id) `id`\n";
        let echo = run(Path::new("/bin/echo"), &["-n", odd], limit).unwrap();
        assert_eq!(echo.out, odd);
        let (seen, _) = sh(
            "read -r line; echo \"$?\"; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | sort",
            20,
        );
        assert_eq!(seen.unwrap(), format!("1\nLC_ALL=C\nPATH={}\n", PATH));
    }

    #[test]
    fn what_a_child_warns_of_is_kept_though_it_exits_with_0() {
        let limit = Duration::from_secs(20);
        let script = "printf done; echo 'WARN: no swap' >&2";
        let said = run(Path::new("/bin/sh"), &["-c", script], limit).unwrap();
        assert_eq!(said.warned, "WARN: no swap\n");
        assert_eq!(said.all(), "done\nWARN: no swap\n");
    }

    #[test]
    fn a_failure_tells_exit_code_and_words() {
        let (failed, _) = sh("echo doing; echo 'VM is locked (backup)' >&2; exit 255", 20);
        assert_eq!(
            failed.unwrap_err(),
            "VM is locked (backup) (exit status: 255)"
        );
        let (died, _) = sh("kill -KILL $$", 20);
        assert_eq!(died.unwrap_err(), "signal: 9 (SIGKILL)");
    }

    #[test]
    fn a_child_that_hangs_and_ignores_sigterm_is_killed_with_its_whole_group() {
        let (late, took) = sh(
            "trap '' TERM; sleep 600 & echo $! >&2; while :; do sleep 1; done",
            5,
        );
        let late = late.unwrap_err();
        let (grandchild, how) = late.split_once(' ').unwrap();
        assert_eq!(how, "(no end after 5 s, killed)");
        assert!(took < SOON, "{took:?}");
        let grandchild: u32 = grandchild.parse().unwrap();
        let deadline = Instant::now() + SOON;
        while crate::driver::proc::look(grandchild).unwrap().is_some() {
            assert!(Instant::now() < deadline, "the grandchild lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_flood_is_read_to_its_end_but_only_the_first_bytes_are_kept() {
        let (flood, _) = sh("head -c 50000000 /dev/zero; echo end >&2; exit 3", 60);
        assert_eq!(flood.unwrap_err(), "end (exit status: 3)");
        let (flood, _) = sh("head -c 50000000 /dev/zero", 60);
        assert_eq!(flood.unwrap().len(), usize::try_from(LARGEST).unwrap());
    }

    #[test]
    fn a_flood_without_end_stops_at_the_deadline() {
        let (flood, took) = sh("exec cat /dev/zero", 1);
        assert!(flood.unwrap_err().ends_with("(no end after 1 s, killed)"));
        assert!(took < SOON, "{took:?}");
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_open_is_neither_waited_for_nor_killed() {
        let (done, took) = sh("setsid sleep 60 & echo $!", 60);
        assert!(took < SOON, "{took:?}");
        let daemon: u32 = done.unwrap().trim().parse().unwrap();
        assert!(crate::driver::proc::look(daemon).unwrap().is_some());
        let daemon = Pid::from_raw(daemon.try_into().unwrap()).unwrap();
        rustix::process::kill_process(daemon, Signal::KILL).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let limit = Duration::from_secs(1);
        assert!(run(Path::new("/nonexistent/qm"), &[], limit).is_err());
    }

    #[test]
    fn what_hangs_is_left_behind_when_its_time_is_over() {
        let began = Instant::now();
        let hang = || {
            thread::sleep(Duration::from_secs(60));
            Ok(())
        };
        let late = within(Duration::from_millis(50), "the file", hang);
        assert_eq!(late.unwrap_err(), "the file: no answer within 0.05 s");
        assert!(began.elapsed() < SOON);
    }
}
