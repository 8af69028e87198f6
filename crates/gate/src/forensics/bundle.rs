//! The directories in which captures are kept, one each, and their removal.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use breakglass_verbs::Verb;

use crate::policy::Retention;
use crate::text;

/// Maximum number of captures with the same verb in the same second.
const SAME_NAME_MAX: u32 = 9;

/// Creates a private directory `<utc>-<verb>` in `root`, after removing the oldest ones.
pub(super) fn create(root: &Path, verb: Verb, retention: &Retention) -> io::Result<PathBuf> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700).recursive(true).create(root)?;
    remove_oldest(root, retention)?;
    let time = text::utc(SystemTime::now()).replace(['-', ':'], "");
    builder.recursive(false);
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for number in 1..=SAME_NAME_MAX {
        let dir = root.join(match number {
            1 => format!("{time}-{verb}"),
            _ => format!("{time}-{verb}-{number}"),
        });
        result = builder.create(&dir).map(|()| dir);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Writes a new private file.
pub(super) fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(dir.join(name))?.write_all(bytes)
}

/// Removes the oldest bundles until there is room for another one.
fn remove_oldest(root: &Path, retention: &Retention) -> io::Result<()> {
    let mut bundles: Vec<PathBuf> = fs::read_dir(root)?
        .flatten()
        .filter(|entry| is_bundle(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    // The names begin with the time.
    bundles.sort_unstable();
    let mut count = 1;
    let mut bytes = 0;
    for bundle in bundles.iter().rev() {
        let files = fs::read_dir(bundle)?.flatten();
        let sizes = files.filter_map(|file| Some(file.metadata().ok()?.len()));
        count += 1;
        bytes += sizes.sum::<u64>();
        if count > retention.bundles || bytes > retention.mib << 20 {
            fs::remove_dir_all(bundle)?;
        }
    }
    Ok(())
}

/// Whether `name` is a name that [`create`] gives, `TIMEZ-VERB`. Nothing else is ever removed.
fn is_bundle(name: &str) -> bool {
    let (time, verb) = name.split_once("Z-").unwrap_or_default();
    let mut verbs = Verb::ALL.iter().map(|known| known.as_str());
    time.len() == 15 && verbs.any(|known| verb.starts_with(known))
}
