//! What every start needs of the host, whatever the hypervisor: QEMU's program, and room to write.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::Process;
use crate::child;

/// Longest look at the host's own file systems.
const LOOK: Duration = Duration::from_secs(2);

/// Whether QEMU could be started on this host once more: the program of `process` is there, and
/// each of `dirs` that exists has room.
///
/// # Errors
/// A sentence with the remedy. What can't be told forbids nothing.
pub(crate) fn is_firm(
    process: Option<Process>,
    dirs: &[&Path],
    limit: Duration,
) -> Result<(), String> {
    let dirs: Vec<PathBuf> = dirs.iter().map(|dir| (*dir).to_owned()).collect();
    let look = move || {
        let absent = process.and_then(|process| absent_program(process.pid));
        Ok(absent.or_else(|| dirs.iter().find_map(|dir| full(dir))))
    };
    match child::within(limit.min(LOOK), "the host", look) {
        Ok(Some(why)) => Err(why),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Why the program that `pid` runs can't be started again: an update may put another one in its
/// place, but not none.
fn absent_program(pid: u32) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = link.to_str()?.trim_end_matches(" (deleted)");
    let is_gone = !Path::new(name).try_exists().ok()?;
    is_gone.then(|| {
        format!("its program {name} is not there any more; install the package of QEMU again")
    })
}

/// Why nothing can be written in `dir`.
fn full(dir: &Path) -> Option<String> {
    let seen = statvfs(dir).ok()?;
    let dir = dir.display();
    if seen.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(format!(
            "{dir} is on a file system that is mounted read-only, and a start writes there; run \
             `dmesg` on the host to see why, then remount it"
        ));
    }
    let is_full = seen.f_bfree == 0 && seen.f_blocks > 0;
    let no_names = seen.f_ffree == 0 && seen.f_files > 0;
    (is_full || no_names).then(|| {
        format!(
            "the file system of {dir} is full, and a start writes there; free space on the host"
        )
    })
}
