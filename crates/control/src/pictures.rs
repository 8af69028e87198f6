//! Stores the guest's screen as it was just before a verb changed it: one PNG per operation, in a
//! directory of bounded size.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use breakglass_model::OperationId;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// Maximum number of pictures.
const PICTURES_MAX: usize = 200;
/// Maximum total size of the pictures.
const PICTURES_MAX_BYTES: u64 = 64 << 20;
/// File extension of a picture.
const EXTENSION: &str = "png";
/// File extension of a picture that is still being written.
const PARTIAL_EXTENSION: &str = "part";

/// Stores pictures by the operation before which they were taken. Calls block on the disk.
#[derive(Debug)]
pub struct Pictures {
    dir: Option<PathBuf>,
    /// Locked while a picture is written and the oldest are removed.
    writing: Mutex<()>,
}

impl Pictures {
    /// Keeps at most 200 pictures and 64 MiB in `dir`, which is created with the first picture and
    /// accessible to this user alone.
    #[must_use]
    pub fn under(dir: impl Into<PathBuf>) -> Pictures {
        Pictures {
            dir: Some(dir.into()),
            writing: Mutex::default(),
        }
    }

    /// Keeps no pictures.
    #[must_use]
    pub fn none() -> Pictures {
        Pictures {
            dir: None,
            writing: Mutex::default(),
        }
    }

    pub(crate) const fn are_kept(&self) -> bool {
        self.dir.is_some()
    }

    /// Stores `picture` and removes the oldest if necessary. Returns whether it is stored now.
    pub(crate) fn keep(&self, operation: OperationId, picture: &[u8]) -> bool {
        let Some(dir) = &self.dir else { return false };
        let _guard = self.writing.lock();
        let kept = write(dir, operation, picture).and_then(|()| make_room(dir));
        if let Err(error) = &kept {
            tracing::warn!(%operation, %error, dir = %dir.display(), "a picture of the screen could not be stored");
        }
        kept.is_ok() && path(dir, operation).exists()
    }

    /// Removes the picture of `operation`, if there is one.
    pub fn forget(&self, operation: OperationId) {
        let Some(dir) = &self.dir else { return };
        match fs::remove_file(path(dir, operation)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%operation, %error, dir = %dir.display(), "the picture of a removed incident could not be removed");
            }
            _ => {}
        }
    }

    /// The picture of `operation`, if there is one.
    ///
    /// # Errors
    /// When it exists and can't be read.
    pub(crate) fn read(&self, operation: OperationId) -> io::Result<Option<Vec<u8>>> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        match fs::read(path(dir, operation)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
}

/// Runs `work` on a thread that may wait for the disk. The caller awaits it.
#[allow(
    clippy::disallowed_methods,
    reason = "one short piece of file work per request or verb; no child process is spawned there"
)]
pub(crate) fn spawn_file_task<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

fn path(dir: &Path, operation: OperationId) -> PathBuf {
    dir.join(operation.to_string()).with_extension(EXTENSION)
}

/// Writes under another name first, so that a file with the final name is complete.
fn write(dir: &Path, operation: OperationId, picture: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let complete = path(dir, operation);
    let partial = complete.with_extension(PARTIAL_EXTENSION);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&partial)?;
    file.write_all(picture)?;
    file.sync_all()?;
    fs::rename(partial, complete)
}

/// Removes the oldest pictures above the limits, and partial files that a crash left.
/// Operation ids sort in the order in which the operations started.
fn make_room(dir: &Path) -> io::Result<()> {
    let mut pictures = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(EXTENSION) => match entry.metadata() {
                // It was removed at this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => pictures.push((path, found?.len())),
            },
            Some(PARTIAL_EXTENSION) => fs::remove_file(path)?,
            _ => {}
        }
    }
    pictures.sort_unstable();
    let mut bytes = 0;
    for (index, (path, size)) in pictures.iter().rev().enumerate() {
        bytes += size;
        if index >= PICTURES_MAX || bytes > PICTURES_MAX_BYTES {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn operation(number: u128) -> OperationId {
        OperationId::from_u128(number)
    }

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn stored_picture_is_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("pictures");
        let pictures = Pictures::under(&place);
        assert!(pictures.keep(operation(1), b"png"));
        assert_eq!(pictures.read(operation(1)).unwrap().unwrap(), b"png");
        assert_eq!(pictures.read(operation(2)).unwrap(), None);
        for (path, mode) in [(place.clone(), 0o700), (path(&place, operation(1)), 0o600)] {
            let permissions = fs::metadata(&path).unwrap().permissions();
            assert_eq!(permissions.mode() & 0o777, mode, "{}", path.display());
        }
    }

    #[test]
    fn forgetting_a_picture_removes_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let pictures = Pictures::under(dir.path());
        for number in 1..3 {
            assert!(pictures.keep(operation(number), b"png"));
        }
        pictures.forget(operation(1));
        pictures.forget(operation(1));
        assert_eq!(pictures.read(operation(1)).unwrap(), None);
        assert!(pictures.read(operation(2)).unwrap().is_some());
    }

    #[test]
    fn oldest_pictures_above_the_maximum_number_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let pictures = Pictures::under(dir.path());
        fs::write(dir.path().join("left.part"), b"of a crash").unwrap();
        for number in 0..PICTURES_MAX as u128 + 3 {
            assert!(pictures.keep(operation(number), b"png"));
        }
        assert_eq!(names(dir.path()), PICTURES_MAX);
        assert_eq!(pictures.read(operation(2)).unwrap(), None);
        assert!(pictures.read(operation(3)).unwrap().is_some());
    }

    #[test]
    fn oldest_pictures_above_the_maximum_size_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let pictures = Pictures::under(dir.path());
        for number in 0..3 {
            let file = fs::File::create(path(dir.path(), operation(number))).unwrap();
            file.set_len(PICTURES_MAX_BYTES / 3).unwrap();
        }
        assert!(pictures.keep(operation(9), &[0; 1024]));
        assert_eq!(pictures.read(operation(0)).unwrap(), None);
        assert_eq!(names(dir.path()), 3);
    }

    #[test]
    fn unwritable_directory_stores_nothing_and_reports_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a-file");
        fs::write(&file, b"").unwrap();
        let pictures = Pictures::under(file.join("pictures"));
        assert!(!pictures.keep(operation(1), b"png"));
        assert!(!Pictures::none().keep(operation(1), b"png"));
        assert_eq!(Pictures::none().read(operation(1)).unwrap(), None);
    }
}
