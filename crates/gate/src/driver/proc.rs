//! Processes as the kernel tells of them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::evidence::{Process, Qemu};
use crate::child;

/// Longest wait for a command line: the kernel needs a lock of the process for it.
const LINE: Duration = Duration::from_secs(2);
const GONE: i32 = rustix::io::Errno::SRCH.raw_os_error();

/// The process that is named in one of `places` (a pid file, a `cgroup.procs`) and has `args`, each
/// ended by NUL, in its command line; else the one that was `known` before, if it is still there:
/// the hypervisor may have forgotten one that it could not kill.
pub(crate) fn find(places: &[PathBuf], args: &str, known: &mut Option<Process>) -> Qemu {
    let look = || -> Result<Option<Process>, String> {
        for pid in places.iter().flat_map(|place| pids(place)) {
            if let Some(process) = look(pid)?.filter(|_| has_args(pid, args)) {
                return Ok(Some(process));
            }
        }
        let Some(known) = *known else { return Ok(None) };
        let now = self::look(known.pid)?;
        Ok(now.filter(|now| now.started == known.started))
    };
    match look() {
        Ok(Some(process)) => {
            *known = Some(process);
            Qemu::Alive(process)
        }
        Ok(None) => Qemu::Absent,
        Err(why) => Qemu::Unseen(why),
    }
}

/// The process `pid`; nothing when there is none.
///
/// # Errors
/// When the kernel does not say, for another reason.
pub(crate) fn look(pid: u32) -> Result<Option<Process>, String> {
    let path = format!("/proc/{pid}/stat");
    match fs::read_to_string(&path) {
        Ok(stat) => parse(pid, &stat).ok_or_else(|| format!("{path} is not readable")),
        // ESRCH: it ended between open and read.
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(GONE) => Ok(None),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

/// The process in a line of `/proc/PID/stat`. A corpse without any other thread is nothing: it
/// holds no disk, and only waits for its parent to notice.
fn parse(pid: u32, stat: &str) -> Option<Option<Process>> {
    // The second field is the program's name in parentheses, and may hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let mut state = fields.next()?.chars().next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    let is_dead = matches!(state, 'Z' | 'X');
    if is_dead && threads > 1 && self::threads(pid).is_ok_and(|threads| threads.contains(" D ")) {
        // Its first thread has ended, another one sits in the kernel.
        state = 'D';
    }
    Some((!is_dead || threads > 1).then_some(Process {
        pid,
        started,
        state,
    }))
}

/// Whether `args` stands in the command line of `pid`. One whose command line is gone or does not
/// come, because it is dying, counts: rather a corpse than "no process".
fn has_args(pid: u32, args: &str) -> bool {
    let line = child::file(Path::new(&format!("/proc/{pid}/cmdline")), LINE);
    line.map_or(true, |line| line.is_empty() || line.contains(args))
}

/// The numbers in a file; none if it is not there.
fn pids(place: &Path) -> Vec<u32> {
    let text = fs::read_to_string(place).unwrap_or_default();
    let words = text.split_ascii_whitespace();
    words
        .filter_map(|word| word.parse().ok())
        .take(64)
        .collect()
}

/// State and kernel wait channel of each thread of `pid`, one line each: `TID STATE NAME CHANNEL`.
pub(crate) fn threads(pid: u32) -> Result<String, String> {
    let dir = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&dir).map_err(|error| format!("{dir}: {error}"))?;
    let mut text = String::new();
    for task in tasks.flatten().take(512) {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let stat = read("stat");
        let state = stat
            .rsplit_once(") ")
            .map_or("?", |(_, rest)| rest.split(' ').next().unwrap_or("?"));
        let [name, channel] = ["comm", "wchan"].map(|file| read(file).trim().to_owned());
        let id = task.file_name();
        text.push_str(&format!(
            "{} {state} {name} {channel}\n",
            id.to_string_lossy()
        ));
    }
    Ok(text)
}

/// Sends SIGKILL if `hard`, else SIGTERM, to `process` and no other: the number is pinned before
/// the start time is compared.
pub(crate) fn signal(process: Process, hard: bool) -> Result<(), String> {
    let signal = if hard { Signal::KILL } else { Signal::TERM };
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let pinned = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let Some(Ok(pinned)) = pinned else {
        return Ok(());
    };
    match look(process.pid)? {
        Some(now) if now.started == process.started => pidfd_send_signal(&pinned, signal)
            .map_err(|error| format!("process {} can't be signalled: {error}", process.pid)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
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
    fn the_own_process_is_seen_with_a_start_time_and_a_missing_one_is_absent() {
        let own = look(std::process::id()).unwrap().unwrap();
        assert!(own.started > 0);
        assert_eq!(look(u32::MAX - 1).unwrap(), None);
        assert!(!has_args(std::process::id(), "-id\x00102\0"));
    }
}
