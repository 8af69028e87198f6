//! Who works on a guest of Proxmox's: its list of tasks, and the flock that each of them holds.
//!
//! A line of the list is `UPID:NODE:PID:PSTART:START:TYPE:GUEST:USER:`, numbers in hexadecimal, with
//! more words behind it once the task has ended. PSTART is the start time of the process as the kernel
//! counts it, so a task whose process is gone (killed, or from before a crash) is told from one at work.
//! The flock is the kernel's and dies with whoever has the file open; `/proc/locks` names its taker.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::proc;
use crate::child::within;
use crate::{file, text};

/// Longest wait for a file of the kernel or of the host's memory.
const LIMIT: Duration = Duration::from_secs(2);
/// Tasks that only look: the consoles of Proxmox's own page.
const LOOKS: [&str; 3] = ["vncproxy", "spiceproxy", "termproxy"];
/// Characters of a command line that are shown.
const LONGEST: usize = 80;

/// A task that has not said that it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    /// `vzdump`, `qmshutdown`, `qmigrate`, `qmsnapshot`, …
    pub(crate) kind: String,
    /// Whether it names the guest; a backup of many guests names none.
    pub(crate) is_named: bool,
    /// Whether its process is still there.
    pub(crate) is_alive: bool,
    pid: u32,
    user: String,
    since: String,
}

impl Task {
    /// `vzdump of root@pam, process 4711, since 2026-11-23T20:45:07Z`, or that it is gone.
    pub(crate) fn sentence(&self) -> String {
        let Task { kind, user, .. } = self;
        let end = match self.is_alive {
            true => format!("since {}", self.since),
            false => "which is gone".to_owned(),
        };
        text::visible(
            &format!("{kind} of {user}, process {}, {end}", self.pid),
            200,
        )
    }

    /// Whether it changes the guest, or reads all of it.
    pub(crate) fn works(&self) -> bool {
        !LOOKS.contains(&self.kind.as_str())
    }
}

/// The tasks of `list` that work on `guest`, or may.
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
    let is_alive = matches!(proc::look(pid), Ok(Some(now)) if now.started == started);
    let since = UNIX_EPOCH.checked_add(Duration::from_secs(number(start)?))?;
    Some(Task {
        kind: (*kind).to_owned(),
        is_named: !named.is_empty(),
        is_alive,
        pid,
        user: (*user).to_owned(),
        since: text::utc(since),
    })
}

/// Who holds the flock on the file at `lock`, as a sentence; `tasks` are those of the guest.
///
/// # Errors
/// A sentence: why it can't be told.
pub(crate) fn holder(lock: &Path, tasks: &[Task]) -> Result<Option<String>, String> {
    let (path, name) = (lock.to_owned(), lock.display().to_string());
    let meta = within(LIMIT, &name, move || match fs::metadata(path) {
        Ok(meta) => Ok(Some((meta.dev(), meta.ino()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    });
    let Some((device, inode)) = meta? else {
        return Ok(None);
    };
    let place = format!(
        "{:02x}:{:02x}:{inode}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let locks = file::end(Path::new("/proc/locks"), LIMIT)?;
    let pid = taker(&locks, &place);
    Ok(pid.map(|pid| name_of(pid, tasks, lock)))
}

/// The process that took the lock on the file at `place`: `1: FLOCK ADVISORY WRITE PID PLACE 0 EOF`.
/// A line of one that only waits has an arrow after its number.
fn taker(locks: &str, place: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [_, kind, _, _, pid, at, ..] if *kind != "->" && *at == place => pid.parse().ok(),
            _ => None,
        }
    })
}

fn name_of(pid: u32, tasks: &[Task], lock: &Path) -> String {
    let is_gone = matches!(proc::look(pid), Ok(None));
    let task = tasks.iter().find(|task| task.pid == pid);
    let named = match task {
        Some(task) => task.sentence(),
        None if is_gone => format!("process {pid}, which is gone"),
        None => command(pid),
    };
    match is_gone {
        // A lock of this kind ends with the last process that has the file open.
        true => format!(
            "{named}; a process that it began holds it on: `fuser -v {}` on the host names that one",
            lock.display()
        ),
        false => named,
    }
}

/// `qm set 102 --memory 2048, process 4711, since …`.
fn command(pid: u32) -> String {
    let line = proc::command_line(pid).unwrap_or_default();
    let words = text::visible(line.replace('\0', " ").trim(), LONGEST);
    let words = match words.as_str() {
        "" => "an unnamed program",
        words => words,
    };
    let since = began(pid).map_or(String::new(), |at| format!(", since {}", text::utc(at)));
    format!("{words}, process {pid}{since}")
}

fn began(pid: u32) -> Option<SystemTime> {
    let uptime = file::end(Path::new("/proc/uptime"), LIMIT).ok()?;
    let up: f64 = uptime.split(' ').next()?.parse().ok()?;
    let started = proc::look(pid).ok()??.started;
    let up = Duration::try_from_secs_f64(up).ok()?;
    let age = up.checked_sub(Duration::from_millis(started.saturating_mul(10)))?;
    SystemTime::now().checked_sub(age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_its_takers_and_not_that_of_one_who_waits() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 00:1a:12 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 00:1a:1234 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4712 00:1a:1234 0 EOF\n";
        assert_eq!(taker(locks, "00:1a:1234"), Some(4711));
        assert_eq!(taker(locks, "00:1a:123"), None);
        assert_eq!(
            taker("2: -> FLOCK ADVISORY WRITE 9 00:1a:5 0 EOF", "00:1a:5"),
            None
        );
    }

    #[test]
    fn a_task_whose_process_is_gone_or_another_one_is_said_to_be() {
        let own = proc::look(std::process::id()).unwrap().unwrap();
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
        let told = format!("qmshutdown of root@pam, process {}, ", own.pid);
        assert_eq!(
            first.sentence(),
            format!("{told}since 2025-10-31T15:16:00Z")
        );
        assert_eq!(other.sentence(), format!("{told}which is gone"));
    }
}
