//! Proxmox's tasks on a guest: its list of tasks, and the flock that each of them holds.
//!
//! A line of the list is `UPID:NODE:PID:PSTART:START:TYPE:GUEST:USER:`, with hexadecimal numbers, and
//! with more words after it if the task has ended. PSTART is the kernel's start time of the process,
//! which distinguishes a running task from one whose process is gone (killed, or from before a crash).
//! The flock is the kernel's and is released when no process has the file open; `/proc/locks` names the
//! process that took it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::process;
use crate::deadline::with_timeout;
use crate::{file, text};

/// Timeout for a file of the kernel or of a tmpfs.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Tasks that change nothing: the consoles of Proxmox's own page.
const CONSOLE_TASKS: [&str; 3] = ["vncproxy", "spiceproxy", "termproxy"];
/// Maximum number of characters of a command line.
const COMMAND_MAX_CHARS: usize = 80;

/// A task that is not listed as ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    /// `vzdump`, `qmshutdown`, `qmigrate`, `qmsnapshot`, …
    pub(crate) kind: String,
    /// Whether the list names the guest. A backup of many guests names none.
    pub(crate) names_guest: bool,
    /// Whether its process still exists.
    pub(crate) is_alive: bool,
    pid: u32,
    user: String,
    since: String,
}

impl Task {
    /// `vzdump of root@pam, process 4711, since 2026-11-23T20:45:07Z`, or `…, which is gone`.
    pub(crate) fn sentence(&self) -> String {
        let Task { kind, user, .. } = self;
        let state = if self.is_alive {
            format!("since {}", self.since)
        } else {
            "which is gone".to_owned()
        };
        let sentence = format!("{kind} of {user}, process {}, {state}", self.pid);
        text::visible(&sentence, 200)
    }

    /// Whether the task changes the guest, or reads all of it.
    pub(crate) fn is_working(&self) -> bool {
        !CONSOLE_TASKS.contains(&self.kind.as_str())
    }
}

/// The tasks in `list` that are, or may be, for `guest`.
pub(crate) fn of_guest(list: &str, guest: &str) -> Vec<Task> {
    let running = list.lines().filter(|line| line.split(' ').count() < 3);
    running.filter_map(|line| parse(line, guest)).collect()
}

fn parse(line: &str, guest: &str) -> Option<Task> {
    let fields: Vec<&str> = line.split(':').collect();
    let ["UPID", _, pid, began, start, kind, named, user, ..] = fields.as_slice() else {
        return None;
    };
    if *named != guest && !(named.is_empty() && *kind == "vzdump") {
        return None;
    }
    let number = |hex: &str| u64::from_str_radix(hex, 16).ok();
    let pid = u32::try_from(number(pid)?).ok()?;
    let started = number(began)?;
    let is_alive = process::is_alive(pid, started);
    let since = UNIX_EPOCH.checked_add(Duration::from_secs(number(start)?))?;
    Some(Task {
        kind: (*kind).to_owned(),
        names_guest: !named.is_empty(),
        is_alive,
        pid,
        user: (*user).to_owned(),
        since: text::utc(since),
    })
}

/// The holder of the flock on the file at `lock`, as a sentence. `tasks` are those of the guest.
///
/// # Errors
/// Why it can't be determined.
pub(crate) fn holder(lock: &Path, tasks: &[Task]) -> Result<Option<String>, String> {
    let path = lock.to_owned();
    let name = lock.display().to_string();
    let meta = with_timeout(READ_TIMEOUT, &name, move || match fs::metadata(path) {
        Ok(meta) => Ok(Some((meta.dev(), meta.ino()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    });
    let Some((device, inode)) = meta? else {
        return Ok(None);
    };
    let id = format!(
        "{:02x}:{:02x}:{inode}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let locks = file::tail(Path::new("/proc/locks"), READ_TIMEOUT)?;
    let pid = lock_owner(&locks, &id);
    Ok(pid.map(|pid| describe(pid, tasks, lock)))
}

/// The process that took the lock on the file with this `id`, from lines such as `1: FLOCK ADVISORY
/// WRITE PID ID 0 EOF`. The line of a waiting process has an arrow after its number.
fn lock_owner(locks: &str, id: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [_, kind, _, _, pid, other, ..] if *kind != "->" && *other == id => pid.parse().ok(),
            _ => None,
        }
    })
}

fn describe(pid: u32, tasks: &[Task], lock: &Path) -> String {
    let is_gone = matches!(process::read(pid), Ok(None));
    let task = tasks.iter().find(|task| task.pid == pid);
    let holder = match task {
        Some(task) => task.sentence(),
        None if is_gone => format!("process {pid}, which is gone"),
        None => command(pid),
    };
    if !is_gone {
        return holder;
    }
    // A flock is inherited by children, and released when the last of them closes the file.
    let lock = lock.display();
    format!(
        "{holder}; one of its children still holds the lock: `fuser -v {lock}` on the host names it"
    )
}

/// `qm set 102 --memory 2048, process 4711, since …`.
fn command(pid: u32) -> String {
    let line = process::command_line(pid).unwrap_or_default();
    let words = text::visible(line.replace('\0', " ").trim(), COMMAND_MAX_CHARS);
    let words = match words.as_str() {
        "" => "an unknown program",
        words => words,
    };
    let since = start_time(pid).map_or(String::new(), |at| format!(", since {}", text::utc(at)));
    format!("{words}, process {pid}{since}")
}

fn start_time(pid: u32) -> Option<SystemTime> {
    let uptime = file::tail(Path::new("/proc/uptime"), READ_TIMEOUT).ok()?;
    let up: f64 = uptime.split(' ').next()?.parse().ok()?;
    let started = process::read(pid).ok()??.started;
    let up = Duration::try_from_secs_f64(up).ok()?;
    let age = up.checked_sub(Duration::from_millis(started.saturating_mul(10)))?;
    SystemTime::now().checked_sub(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_belongs_to_its_owner_and_not_to_a_waiting_process() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 00:1a:12 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 00:1a:1234 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4712 00:1a:1234 0 EOF\n";
        assert_eq!(lock_owner(locks, "00:1a:1234"), Some(4711));
        assert_eq!(lock_owner(locks, "00:1a:123"), None);
        assert_eq!(
            lock_owner("2: -> FLOCK ADVISORY WRITE 9 00:1a:5 0 EOF", "00:1a:5"),
            None
        );
    }

    #[test]
    fn task_whose_process_is_gone_or_was_replaced_is_not_alive() {
        let own = process::read(std::process::id()).unwrap().unwrap();
        let line = |pid: u32, started: u64, guest: &str, rest: &str| {
            format!(
                "UPID:pve:{pid:08X}:{started:08X}:6904D2B0:qmshutdown:{guest}:root@pam:{rest}\n"
            )
        };
        let list = [
            line(own.pid, own.started, "102", " 0"),
            line(own.pid, own.started + 1, "102", " 0"),
            line(u32::MAX - 1, 1, "102", " 0"),
            line(own.pid, own.started, "103", " 0"),
            line(own.pid, own.started, "102", " 1 6904D2C0 OK"),
            "UPID:nonsense\nUPID:pve:zz:1:1:vzdump:102:x:\n\n".to_owned(),
        ];
        let tasks = of_guest(&list.concat(), "102");
        let alive: Vec<bool> = tasks.iter().map(|task| task.is_alive).collect();
        assert_eq!(alive, [true, false, false]);
        let [first, other, _] = tasks.as_slice() else {
            unreachable!()
        };
        let prefix = format!("qmshutdown of root@pam, process {}, ", own.pid);
        assert_eq!(
            first.sentence(),
            format!("{prefix}since 2025-10-31T15:16:00Z")
        );
        assert_eq!(other.sentence(), format!("{prefix}which is gone"));
    }
}
