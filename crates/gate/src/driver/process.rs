//! Processes as the kernel tells of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::evidence::{Process, Qemu};
use crate::file;

/// Longest wait for one file of `/proc` (the kernel needs a lock of the process for its command
/// line) or for one that names a process.
const LINE: Duration = Duration::from_secs(2);
/// Most processes that one file may name.
const NUMBERS: usize = 64;

/// A file that names processes by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Holds one number.
    PidFile(PathBuf),
    /// Holds any number of them.
    Group(PathBuf),
}

/// The process that is named in one of `places` and has `args`, each ended by NUL, in its command
/// line; else the one that was `known` before, if it is still there: the hypervisor may have
/// forgotten one that it could not kill.
///
/// That there is none is said only where every place is either not there or names others: a file
/// that can't be read, or holds something else, may be that of a guest that runs.
pub(crate) fn find(places: &[Place], args: &str, known: &mut Option<Process>) -> Qemu {
    let look = || -> Result<Option<Process>, String> {
        let mut unread = None;
        for place in places {
            match place.numbers() {
                Ok(pids) => {
                    for pid in pids {
                        if let Some(process) = look(pid)?.filter(|_| has_args(pid, args)) {
                            return Ok(Some(process));
                        }
                    }
                }
                Err(why) => unread = unread.or(Some(why)),
            }
        }
        let now = match *known {
            Some(known) => self::look(known.pid)?.filter(|now| now.started == known.started),
            None => None,
        };
        match (now, unread) {
            (None, Some(why)) => Err(why),
            (now, _) => Ok(now),
        }
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
    let Some(stat) = file::text(Path::new(&path), LINE)? else {
        return Ok(None);
    };
    parse(pid, &stat).ok_or_else(|| format!("{path} is not readable"))
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
/// come, because it is dying, counts: rather a corpse than "no process". A thread of the kernel, which
/// never has one, does not.
fn has_args(pid: u32, args: &str) -> bool {
    let line = command_line(pid);
    line.map_or(true, |line| match line.is_empty() {
        true => !is_of_the_kernel(pid),
        false => line.contains(args),
    })
}

/// Whether the command line of `pid` is seen to have `option`.
pub(crate) fn has_option(pid: u32, option: &str) -> bool {
    command_line(pid).is_ok_and(|line| line.split('\0').any(|word| word == option))
}

fn is_of_the_kernel(pid: u32) -> bool {
    let stat = file::end(Path::new(&format!("/proc/{pid}/stat")), LINE).unwrap_or_default();
    // `PF_KTHREAD` of the seventh field after the name.
    let flags = stat.rsplit_once(')').map(|(_, rest)| rest);
    let flags = flags.and_then(|rest| rest.split_ascii_whitespace().nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & 0x0020_0000 != 0)
}

/// The command line of `pid`, each word ended by NUL.
pub(crate) fn command_line(pid: u32) -> Result<String, String> {
    file::end(Path::new(&format!("/proc/{pid}/cmdline")), LINE)
}

impl Place {
    /// The numbers in it; none if it is not there.
    fn numbers(&self) -> Result<Vec<u32>, String> {
        let (Place::PidFile(path) | Place::Group(path)) = self;
        let Some(text) = file::text(path, LINE)? else {
            return Ok(Vec::new());
        };
        let words = text.split_ascii_whitespace().take(NUMBERS);
        let number = |word: &str| word.parse().ok().filter(|pid| *pid > 0);
        let numbers: Option<Vec<u32>> = words.map(number).collect();
        let most = match self {
            Place::PidFile(_) => 1..=1,
            Place::Group(_) => 0..=NUMBERS,
        };
        let fits = numbers.filter(|numbers| most.contains(&numbers.len()));
        fits.ok_or_else(|| {
            format!(
                "{}: it does not hold the number of a process",
                path.display()
            )
        })
    }
}

/// State and kernel wait channel of each thread of `pid`, one line each: `TID STATE NAME CHANNEL`.
pub(crate) fn threads(pid: u32) -> Result<String, String> {
    let dir = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&dir).map_err(|error| format!("{dir}: {error}"))?;
    let mut text = String::new();
    for task in tasks.flatten().take(512) {
        let read = |name: &str| file::end(&task.path().join(name), LINE).unwrap_or_default();
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
