//! How much of the machine a sandbox may use: limits that the kernel keeps, and two that it has none for
//! without a control group, which are watched from the sandbox's first process.

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

use super::{HOME, WORK};

/// Processes and threads; the CLI itself has about 30.
const PROCESSES: u64 = 256;
/// Open files of one process.
const FILES: u64 = 1024;
/// The largest file, in bytes.
const FILE_BYTES: u64 = 1 << 30;
/// Memory of all processes together, in bytes; the CLI itself has about 200 MB.
const MEMORY_BYTES: u64 = 3 << 30;
/// All that lies in home and working directory, in bytes, and how many files that may be.
const DISK_BYTES: u64 = 2 << 30;
const DISK_FILES: usize = 100_000;
/// Sockets of all processes together: what waits in them is the kernel's memory. The CLI has about 20.
const SOCKETS: u64 = 2048;
/// How much nicer than the server it is.
const NICE: i32 = 5;
/// How often is looked.
const EVERY: Duration = Duration::from_millis(250);
/// How much less room there may be on the disk before home and working directory are measured again.
const DISK_STEP: u64 = 128 << 20;
/// They are measured anyway after so many looks.
const DISK_LOOKS: u32 = 40;
/// The exit code of a sandbox that has filled its room.
const FULL: i32 = 122;

/// Sets what the kernel keeps, for this process and all that it starts. Each fails where less is allowed
/// already, which is as good.
pub(super) fn set() {
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Nproc, PROCESSES),
        (Resource::Nofile, FILES),
        (Resource::Fsize, FILE_BYTES),
    ] {
        let (current, maximum) = (Some(most), Some(most));
        let _ = setrlimit(resource, Rlimit { current, maximum });
    }
    // The first to go where the machine runs out of memory.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let _ = setpriority_process(None, NICE);
}

/// Empties the working directory and the temporary files where an earlier process has filled its room.
pub(super) fn make_room() {
    if is_full() {
        for directory in [Path::new(WORK), &Path::new(HOME).join("tmp")] {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
    }
}

/// Watches the memory of all `others` and the room on the disk for ever. The largest process is killed for
/// the memory, and everything for the disk.
pub(super) fn watch<I: Iterator<Item = u32>>(others: impl Fn() -> I) {
    let page = rustix::param::page_size() as u64;
    let (mut free, mut looks) = (free(), 0);
    loop {
        thread::sleep(EVERY);
        let sizes: Vec<(u64, u32)> = others().map(|id| (resident(id) * page, id)).collect();
        if sizes.iter().map(|(size, _)| size).sum::<u64>() > MEMORY_BYTES {
            let largest = sizes.iter().max();
            let largest = largest.and_then(|(_, id)| Pid::from_raw(i32::try_from(*id).ok()?));
            let _ = largest.map(|id| kill_process(id, Signal::KILL));
        }
        end_if_too_many_sockets();
        looks += 1;
        let now = self::free();
        if looks >= DISK_LOOKS || now.saturating_add(DISK_STEP) < free {
            (free, looks) = (now, 0);
            end_if_full();
        }
    }
}

fn end_if_full() {
    if is_full() {
        end(&format!(
            "the agent's files fill more than {} MiB, or are more than {DISK_FILES}; it was ended, and its \
             working directory is emptied when it starts again",
            DISK_BYTES >> 20
        ));
    }
}

fn end_if_too_many_sockets() {
    if sockets() > SOCKETS {
        end(&format!(
            "the agent has more than {SOCKETS} sockets open; it was ended"
        ));
    }
}

#[allow(clippy::disallowed_methods)]
fn end(why: &str) {
    let _ = writeln!(std::io::stderr(), "breakglass: {why}");
    // With the first process of a namespace the kernel ends all others; there is nothing to tidy up.
    std::process::exit(FULL);
}

/// Sockets in this network namespace.
fn sockets() -> u64 {
    let all = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let used = all.strip_prefix("sockets: used ");
    let used = used.and_then(|rest| rest.lines().next());
    used.and_then(|used| used.parse().ok()).unwrap_or(0)
}

/// Pages of memory that a process has now.
fn resident(id: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{id}/statm")).unwrap_or_default();
    let pages = statm.split(' ').nth(1);
    pages.and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

/// Bytes that the file system of the working directory has room for.
fn free() -> u64 {
    statvfs(WORK).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

fn is_full() -> bool {
    let (mut bytes, mut files) = (0u64, 0usize);
    let mut left: VecDeque<PathBuf> = [HOME, WORK].map(PathBuf::from).into();
    while let Some(directory) = left.pop_front() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            // Of a link its own size.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            files += 1;
            bytes = bytes.saturating_add(found.blocks().saturating_mul(512));
            if bytes > DISK_BYTES || files > DISK_FILES {
                return true;
            }
            if found.is_dir() {
                left.push_back(entry.path());
            }
        }
    }
    false
}
