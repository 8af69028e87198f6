//! Small files that are whole or not there: written under another name, flushed, then renamed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest file that is read: above what any of ours grows to.
const MAX_BYTES: u64 = 16 << 20;

/// What is in the file; the default where there is none. A file that can't be understood is moved
/// aside to `NAME.damaged`, and said.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    match read(path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(value) => return Some(value),
            Err(error) => set_aside(path, &error.to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "what was to be notified can't be read");
        }
    }
    None
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > MAX_BYTES {
        return Ok(Vec::new());
    }
    fs::read(path)
}

fn set_aside(path: &Path, why: &str) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let moved = fs::rename(path, &aside);
    let (path, moved) = (path.display(), moved.is_ok());
    tracing::error!(%path, why, moved, "what was to be notified is damaged; it is set aside");
}

/// Puts `value` into the file, for this user alone.
///
/// # Errors
/// The file is then as it was.
pub(crate) fn save(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let unfinished = path.with_extension("part");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    File::open(dir)?.sync_all()
}
