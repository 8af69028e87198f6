//! Processes, as the kernel reports them in `/proc`.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::evidence::{Process, Qemu};
use crate::file;

/// Timeout for one file of `/proc` (for a command line the kernel needs a lock of the process) or
/// for one that names processes.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of processes that one file may name.
const PIDS_MAX: usize = 64;
/// Maximum number of threads to list.
const THREADS_MAX: usize = 512;
/// `PF_KTHREAD` of the kernel's `sched.h`.
const KERNEL_THREAD_FLAG: u32 = 0x0020_0000;

/// A file that contains process ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PidSource {
    /// Contains exactly one.
    PidFile(PathBuf),
    /// Contains any number of them.
    Cgroup(PathBuf),
}

/// Finds the process that one of `sources` names and that has `args`, each terminated by NUL, in its
/// command line; else the one that was `last_seen`, if it still exists: the hypervisor may have
/// forgotten a process that it could not kill.
///
/// [`Qemu::Absent`] requires that every source is missing or names other processes. One that can't
/// be read, or has other content, may be that of a running guest.
pub(super) fn find(sources: &[PidSource], args: &str, last_seen: &mut Option<Process>) -> Qemu {
    match try_find(sources, args, *last_seen) {
        Ok(Some(process)) => {
            *last_seen = Some(process);
            Qemu::Alive(process)
        }
        Ok(None) => Qemu::Absent,
        Err(why) => Qemu::Unknown(why),
    }
}

fn try_find(
    sources: &[PidSource],
    args: &str,
    last_seen: Option<Process>,
) -> Result<Option<Process>, String> {
    let mut first_error = None;
    for source in sources {
        match source.pids() {
            Ok(pids) => {
                for pid in pids {
                    if let Some(process) = read(pid)?.filter(|_| may_have_args(pid, args)) {
                        return Ok(Some(process));
                    }
                }
            }
            Err(why) => first_error = first_error.or(Some(why)),
        }
    }
    if let Some(last) = last_seen
        && let Some(now) = read(last.pid)?.filter(|now| now.started == last.started)
    {
        return Ok(Some(now));
    }
    first_error.map_or(Ok(None), Err)
}

/// Whether `pid` is the process that was started at `started`, and still exists.
pub(crate) fn is_alive(pid: u32, started: u64) -> bool {
    matches!(read(pid), Ok(Some(process)) if process.started == started)
}

/// The process `pid`; none if it does not exist.
///
/// # Errors
/// The kernel does not answer.
pub(crate) fn read(pid: u32) -> Result<Option<Process>, String> {
    let path = format!("/proc/{pid}/stat");
    let Some(stat) = file::text(Path::new(&path), READ_TIMEOUT)? else {
        return Ok(None);
    };
    parse(pid, &stat).ok_or_else(|| format!("{path} is not readable"))
}

/// The process in a line of `/proc/PID/stat`. A zombie without live threads counts as gone: it uses
/// no disk and only waits for its parent.
fn parse(pid: u32, stat: &str) -> Option<Option<Process>> {
    // The second field is the program's name in parentheses. It may contain spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let mut state = fields.next()?.chars().next()?;
    let thread_count: u32 = fields.nth(16)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    let is_dead = matches!(state, 'Z' | 'X');
    if is_dead && thread_count <= 1 {
        return Some(None);
    }
    if is_dead && threads(pid).is_ok_and(|threads| threads.contains(" D ")) {
        // The first thread has ended, but another one hangs in the kernel.
        state = 'D';
    }
    Some(Some(Process {
        pid,
        started,
        state,
    }))
}

/// Whether the command line of `pid` contains `args`. A process that is exiting has none, and counts
/// as a match, because "no process" would be worse if wrong. A kernel thread never has one, and does
/// not count.
fn may_have_args(pid: u32, args: &str) -> bool {
    match command_line(pid) {
        Ok(line) if line.is_empty() => !is_kernel_thread(pid),
        Ok(line) => line.contains(args),
        Err(_) => true,
    }
}

/// Whether the command line of `pid` is readable and has `option`.
pub(super) fn has_option(pid: u32, option: &str) -> bool {
    command_line(pid).is_ok_and(|line| line.split('\0').any(|word| word == option))
}

fn is_kernel_thread(pid: u32) -> bool {
    let flags = || {
        let stat = file::tail(Path::new(&format!("/proc/{pid}/stat")), READ_TIMEOUT).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        fields.nth(6)?.parse::<u32>().ok()
    };
    flags().is_some_and(|flags| flags & KERNEL_THREAD_FLAG != 0)
}

/// The command line of `pid`, each word terminated by NUL.
pub(super) fn command_line(pid: u32) -> Result<String, String> {
    file::tail(Path::new(&format!("/proc/{pid}/cmdline")), READ_TIMEOUT)
}

impl PidSource {
    /// The ids in the file; none if it does not exist.
    fn pids(&self) -> Result<Vec<u32>, String> {
        let (path, count): (&Path, RangeInclusive<usize>) = match self {
            PidSource::PidFile(path) => (path, 1..=1),
            PidSource::Cgroup(path) => (path, 0..=PIDS_MAX),
        };
        let Some(text) = file::text(path, READ_TIMEOUT)? else {
            return Ok(Vec::new());
        };
        let words = text.split_ascii_whitespace().take(PIDS_MAX);
        let pids = words.map(|word| word.parse().ok().filter(|pid| *pid > 0));
        let pids: Option<Vec<u32>> = pids.collect();
        let pids = pids.filter(|pids| count.contains(&pids.len()));
        pids.ok_or_else(|| format!("{}: it does not contain a process id", path.display()))
    }
}

/// The state and kernel wait channel of each thread of `pid`, one line each: `TID STATE NAME
/// CHANNEL`. Not bounded in time by itself.
pub(crate) fn threads(pid: u32) -> Result<String, String> {
    let dir = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&dir).map_err(|error| format!("{dir}: {error}"))?;
    let mut lines = String::new();
    for task in tasks.flatten().take(THREADS_MAX) {
        let read = |name: &str| {
            let text = file::tail(&task.path().join(name), READ_TIMEOUT).unwrap_or_default();
            text.trim().to_owned()
        };
        let stat = read("stat");
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').next());
        lines.push_str(&format!(
            "{} {} {} {}\n",
            task.file_name().to_string_lossy(),
            state.unwrap_or("?"),
            read("comm"),
            read("wchan")
        ));
    }
    Ok(lines)
}

/// Sends SIGKILL if `force`, else SIGTERM, to `process` and to no other: a pidfd pins the process id
/// before the start times are compared.
pub(super) fn signal(process: Process, force: bool) -> Result<(), String> {
    let signal = if force { Signal::KILL } else { Signal::TERM };
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let pidfd = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let Some(Ok(pidfd)) = pidfd else {
        return Ok(());
    };
    match read(process.pid)? {
        Some(now) if now.started == process.started => pidfd_send_signal(&pidfd, signal)
            .map_err(|error| format!("process {} can't be signalled: {error}", process.pid)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_name_with_parentheses_does_not_shift_the_fields() {
        let stat =
            "23112 (kvm) S) D 1 23112 23112 0 -1 4194560 1 0 0 0 9 8 0 0 20 0 6 0 987654 5 6";
        let process = Process {
            pid: 23112,
            started: 987_654,
            state: 'D',
        };
        assert_eq!(parse(23112, stat), Some(Some(process)));
        let dying = stat.replace(") D", ") Z");
        assert_eq!(
            parse(23112, &dying),
            Some(Some(Process {
                state: 'Z',
                ..process
            }))
        );
        assert_eq!(
            parse(23112, &dying.replace(" 6 0 987654", " 1 0 987654")),
            Some(None)
        );
    }

    #[test]
    fn own_process_has_a_start_time_and_a_missing_one_is_absent() {
        let own = read(std::process::id()).unwrap().unwrap();
        assert!(own.started > 0);
        assert_eq!(read(u32::MAX - 1).unwrap(), None);
        assert!(!may_have_args(std::process::id(), "-id\x00102\0"));
    }
}
