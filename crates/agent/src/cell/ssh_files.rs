use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use uuid::Uuid;

/// The agent's OpenSSH files. In both texts, `{cell}` and `{program}` stand for the paths below.
#[derive(Debug, Clone, Copy)]
pub struct SshFiles<'a> {
    /// The directory of the files, as the agent sees it.
    pub cell: &'a Path,
    /// This program, as the agent sees it.
    pub program: &'a Path,
    /// The OpenSSH configuration.
    pub config: &'a str,
    /// The host keys.
    pub known_hosts: &'a str,
}

/// Writes `ssh_config` and `known_hosts` into `dir`, readable by all and writable by the owner.
///
/// # Errors
/// The file system's error.
pub fn write_ssh_files(dir: &Path, files: SshFiles<'_>) -> io::Result<()> {
    let cell = files.cell.display().to_string();
    let program = files.program.display().to_string();
    for (name, text) in [
        ("ssh_config", files.config),
        ("known_hosts", files.known_hosts),
    ] {
        let text = text.replace("{cell}", &cell).replace("{program}", &program);
        let path = dir.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        replace(&path, &text)?;
    }
    Ok(())
}

/// Replaces a file atomically.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    const MODE: u32 = 0o644;
    let temporary = path.with_extension(format!("{}.tmp", Uuid::new_v4().simple()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&temporary)?;
    // The umask may have removed bits.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(text.as_bytes())?;
    fs::rename(&temporary, path)
}
