//! Processes as the kernel tells of them.

use std::fs;
use std::io;
use std::path::Path;

use super::evidence::Process;

/// The process `pid`; nothing when there is none.
///
/// # Errors
/// When the kernel does not say, for another reason.
pub(crate) fn look(pid: u32) -> Result<Option<Process>, String> {
    let path = format!("/proc/{pid}/stat");
    match fs::read_to_string(&path) {
        Ok(stat) => parse(pid, &stat).ok_or_else(|| format!("{path} is not readable")),
        // ESRCH: it ended between open and read.
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_gone(&error) => Ok(None),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The process in a line of `/proc/PID/stat`. A corpse without any other thread is nothing: it
/// holds no disk, and only waits for its parent to notice.
fn parse(pid: u32, stat: &str) -> Option<Option<Process>> {
    // The second field is the program's name in parentheses, and may hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    let is_corpse = matches!(state, 'Z' | 'X') && threads <= 1;
    Some((!is_corpse).then_some(Process {
        pid,
        started,
        state,
    }))
}

/// Whether process `pid` is the QEMU of `guest`, by its command line (`-id GUEST`). A process that
/// has lost its command line because it is dying counts: rather a corpse than "no process".
pub(crate) fn is_qemu_of(guest: &str, pid: u32) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return true;
    };
    let args: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    line.is_empty()
        || args
            .windows(2)
            .any(|pair| pair == [b"-id".as_slice(), guest.as_bytes()])
}

/// The first number in `file`, as in a pid file or a `cgroup.procs`.
pub(crate) fn first_pid(file: &Path) -> io::Result<Option<u32>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text
            .split_ascii_whitespace()
            .next()
            .and_then(|word| word.parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// State and kernel wait channel of each thread of `pid`, one line each.
pub(crate) fn threads(pid: u32) -> Result<String, String> {
    let dir = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&dir).map_err(|error| format!("{dir}: {error}"))?;
    let mut text = String::new();
    for task in tasks.flatten().take(512) {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let stat = read("stat");
        let state = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().next());
        let [name, channel] = ["comm", "wchan"].map(|file| read(file).trim().to_owned());
        text.push_str(&format!(
            "{} {} {name} {channel}\n",
            task.file_name().to_string_lossy(),
            state.unwrap_or("?"),
        ));
    }
    Ok(text)
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
        assert!(!is_qemu_of("102", std::process::id()));
    }
}
