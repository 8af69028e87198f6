//! The resource limits of a sandbox: those that the kernel enforces for a process, and those for all processes
//! together, for which the kernel would need a control group: the sandbox's first process watches these.

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::statvfs;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, kill_process, setpriority_process, setrlimit,
};

use super::options::{HOME, WORK};

/// Maximum number of processes and threads; the CLI itself has about 30.
const PROCESSES_MAX: u64 = 256;
/// Maximum number of open files of one process.
const OPEN_FILES_MAX: u64 = 1024;
/// Maximum size of one file.
const FILE_MAX_BYTES: u64 = 1 << 30;
/// Maximum memory of all processes together; the CLI itself uses about 200 MB.
const MEMORY_MAX_BYTES: u64 = 3 << 30;
/// Maximum size and number of all files in home and working directory.
const DISK_MAX_BYTES: u64 = 2 << 30;
const DISK_MAX_FILES: usize = 100_000;
/// Maximum number of sockets of all processes together, whose buffers are kernel memory. The CLI has about 20.
const SOCKETS_MAX: u64 = 2048;
/// Nice value.
const NICENESS: i32 = 5;
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Home and working directory are measured when the free disk space has shrunk by this much, …
const DISK_STEP_BYTES: u64 = 128 << 20;
/// … and after this many checks in any case.
const DISK_CHECKS: u32 = 40;
/// Exit code of a sandbox that exceeded a limit.
const LIMIT_EXCEEDED_EXIT: i32 = 122;

/// Sets the limits that the kernel enforces, for this process and all that it starts. A limit can't be set if the
/// hard limit is already lower: ignore the error.
pub(super) fn set() {
    for (resource, maximum) in [
        (Resource::Core, 0),
        (Resource::Nproc, PROCESSES_MAX),
        (Resource::Nofile, OPEN_FILES_MAX),
        (Resource::Fsize, FILE_MAX_BYTES),
    ] {
        let limit = Rlimit {
            current: Some(maximum),
            maximum: Some(maximum),
        };
        let _ = setrlimit(resource, limit);
    }
    // The kernel kills the agent first if the machine runs out of memory.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let _ = setpriority_process(None, NICENESS);
}

/// Empties the working directory and the temporary files if the disk limit is exceeded.
pub(super) fn make_room() {
    if is_disk_full() {
        for directory in [Path::new(WORK), &Path::new(HOME).join("tmp")] {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
    }
}

/// Checks memory, sockets and disk space of all `others` for ever. Kills the largest process if they exceed the
/// memory limit, and ends the sandbox if they exceed another one.
pub(super) fn watch<I: Iterator<Item = u32>>(others: impl Fn() -> I) {
    let page = rustix::param::page_size() as u64;
    let mut free_before = free_disk_bytes();
    let mut checks = 0;
    loop {
        thread::sleep(CHECK_INTERVAL);
        let sizes: Vec<(u64, u32)> = others().map(|id| (resident_pages(id) * page, id)).collect();
        if sizes.iter().map(|(size, _)| size).sum::<u64>() > MEMORY_MAX_BYTES {
            let largest = sizes.iter().max();
            let largest = largest.and_then(|(_, id)| Pid::from_raw(i32::try_from(*id).ok()?));
            let _ = largest.map(|id| kill_process(id, Signal::KILL));
        }
        end_if_too_many_sockets();
        checks += 1;
        let free = free_disk_bytes();
        if checks >= DISK_CHECKS || free.saturating_add(DISK_STEP_BYTES) < free_before {
            free_before = free;
            checks = 0;
            end_if_disk_is_full();
        }
    }
}

fn end_if_disk_is_full() {
    if is_disk_full() {
        end(&format!(
            "the agent was ended because its files use more than {} MiB, or are more than {DISK_MAX_FILES}; \
             its working directory is emptied when it starts again",
            DISK_MAX_BYTES >> 20
        ));
    }
}

fn end_if_too_many_sockets() {
    if open_sockets() > SOCKETS_MAX {
        end(&format!(
            "the agent was ended because it has more than {SOCKETS_MAX} open sockets"
        ));
    }
}

#[allow(clippy::disallowed_methods)]
fn end(reason: &str) {
    let _ = writeln!(std::io::stderr(), "breakglass: {reason}");
    // Needs no cleanup: when the first process of a namespace ends, the kernel kills all others.
    std::process::exit(LIMIT_EXCEEDED_EXIT);
}

/// Sockets in this network namespace.
fn open_sockets() -> u64 {
    let all = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let used = all.strip_prefix("sockets: used ");
    let used = used.and_then(|rest| rest.lines().next());
    used.and_then(|used| used.parse().ok()).unwrap_or(0)
}

/// A process's resident memory, in pages.
fn resident_pages(id: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{id}/statm")).unwrap_or_default();
    let pages = statm.split(' ').nth(1);
    pages.and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

/// Free space of the working directory's file system.
fn free_disk_bytes() -> u64 {
    statvfs(WORK).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

fn is_disk_full() -> bool {
    let (mut bytes, mut files) = (0u64, 0usize);
    let mut pending: VecDeque<PathBuf> = [HOME, WORK].map(PathBuf::from).into();
    while let Some(directory) = pending.pop_front() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            // Does not follow links.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            files += 1;
            bytes = bytes.saturating_add(found.blocks().saturating_mul(512));
            if bytes > DISK_MAX_BYTES || files > DISK_MAX_FILES {
                return true;
            }
            if found.is_dir() {
                pending.push_back(entry.path());
            }
        }
    }
    false
}
