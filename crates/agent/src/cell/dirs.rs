//! The cell's directories, its lock, and the file of the CLI's login.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{conversation_dirs, instructions};
use crate::AgentOptions;
use crate::account::act_as;
use crate::safe_dir::SafeDir;

/// Directory of temporary files, below the home.
pub(super) const TEMPORARY_DIR: &str = "tmp";

/// Creates the cell's directories.
///
/// # Errors
/// The file system's error.
pub(super) fn create_dirs(options: &AgentOptions) -> io::Result<()> {
    let access = options.access();
    act_as(access.rights, || {
        for directory in [&options.home, &options.work_dir] {
            private_dir().create(directory)?;
        }
        let home = SafeDir::open(&options.home, access.owner)?;
        for directory in [instructions::directory(options), TEMPORARY_DIR] {
            home.open_or_create_dir(Path::new(directory))?;
        }
        Ok(())
    })
}

/// Makes this process the owner of the cell, unless another one is. The returned lock lasts as long as the file
/// is open.
pub(crate) fn lock(options: &AgentOptions) -> Option<fs::File> {
    private_dir().create(options.lock.parent()?).ok()?;
    let mut open = fs::OpenOptions::new();
    open.write(true).create(true).truncate(false).mode(0o600);
    let file = open.open(&options.lock).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// File in which the claude CLI keeps its own login.
pub(crate) fn credentials(home: &Path) -> PathBuf {
    home.join(conversation_dirs::LOGIN_DIR)
        .join(conversation_dirs::LOGIN_FILE)
}

fn private_dir() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}
