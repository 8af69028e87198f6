//! What every start needs from the host, whatever the hypervisor: QEMU's program, and free space.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::evidence::Process;
use crate::deadline::with_timeout;

const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks that QEMU could be started again: the program of `process` exists, and each of `dirs`
/// that exists has free space. What can't be determined is not an error.
///
/// # Errors
/// What is missing, with the remedy.
pub(super) fn check(
    process: Option<Process>,
    dirs: &[&Path],
    timeout: Duration,
) -> Result<(), String> {
    let dirs: Vec<PathBuf> = dirs.iter().map(|dir| (*dir).to_owned()).collect();
    let check = move || {
        let missing = process.and_then(|process| missing_program(process.pid));
        Ok(missing.or_else(|| dirs.iter().find_map(|dir| unwritable(dir))))
    };
    match with_timeout(timeout.min(CHECK_TIMEOUT), "the host", check) {
        Ok(Some(why)) => Err(why),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Why the program that `pid` runs can't be started again. An update may have replaced it.
fn missing_program(pid: u32) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = link.to_str()?.trim_end_matches(" (deleted)");
    let is_missing = !Path::new(path).try_exists().ok()?;
    is_missing.then(|| format!("its program {path} no longer exists; reinstall the QEMU package"))
}

/// Why no file can be created in `dir`.
fn unwritable(dir: &Path) -> Option<String> {
    let stat = statvfs(dir).ok()?;
    let dir = dir.display();
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(format!(
            "{dir} is on a file system that is mounted read-only, and a start writes there; run \
             `dmesg` on the host to see why, then remount it"
        ));
    }
    let has_no_blocks = stat.f_bfree == 0 && stat.f_blocks > 0;
    let has_no_inodes = stat.f_ffree == 0 && stat.f_files > 0;
    (has_no_blocks || has_no_inodes).then(|| {
        format!(
            "the file system of {dir} is full, and a start writes there; free space on the host"
        )
    })
}
