//! Small JSON files, written atomically: under another name, flushed, then renamed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Maximum size of a file that is read; larger than any of these files can become.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// Loads the file; `None` if it does not exist. A file that cannot be parsed is renamed to `NAME.damaged`, with
/// an error in the server's log.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    match read(path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(value) => return Some(value),
            Err(error) => set_aside(path, &error.to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a file of pending notifications cannot be read");
        }
    }
    None
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > FILE_MAX_BYTES {
        return Ok(Vec::new());
    }
    fs::read(path)
}

fn set_aside(path: &Path, why: &str) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let moved = fs::rename(path, &aside);
    let path = path.display();
    let moved = moved.is_ok();
    tracing::error!(%path, why, moved, "a file of pending notifications is damaged; it was renamed to NAME.damaged");
}

/// Saves `value`; only this account can read the file.
///
/// # Errors
/// If it cannot be written. The file is then unchanged.
pub(crate) fn save(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let temporary = path.with_extension("part");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    File::open(dir)?.sync_all()
}
