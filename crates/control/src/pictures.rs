//! The guest's screen as it was just before a verb changed it: one PNG for each operation, in a
//! directory that never outgrows its bounds.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use breakglass_model::OperationId;
use tokio::task::JoinHandle;

/// Most pictures that are kept.
const MOST: usize = 200;
/// Most bytes that all of them have together.
const MOST_BYTES: u64 = 64 << 20;
/// How a picture's name ends.
const ENDING: &str = "png";
/// How a name ends whose content is not whole yet.
const UNFINISHED: &str = "part";

/// Keeps pictures by the operation before which they were taken. Calls block on the disk.
#[derive(Debug)]
pub struct Pictures {
    dir: Option<PathBuf>,
    /// Held while one is written and the oldest go.
    writing: Mutex<()>,
}

impl Pictures {
    /// Keeps at most 200 pictures and 64 MiB in `dir`, which is made when the first one comes. For
    /// this user alone.
    #[must_use]
    pub fn under(dir: impl Into<PathBuf>) -> Pictures {
        Pictures {
            dir: Some(dir.into()),
            writing: Mutex::default(),
        }
    }

    /// Keeps none.
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

    /// Keeps `picture`; the oldest make room for it. Says whether it is there now.
    pub(crate) fn keep(&self, operation: OperationId, picture: &[u8]) -> bool {
        let Some(dir) = &self.dir else { return false };
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = write(dir, operation, picture).and_then(|()| make_room(dir));
        if let Err(error) = &kept {
            tracing::warn!(%operation, %error, dir = %dir.display(), "a picture of the screen was not kept");
        }
        kept.is_ok() && path(dir, operation).exists()
    }

    /// Lets the picture of `operation` go, if one is kept.
    pub fn forget(&self, operation: OperationId) {
        let Some(dir) = &self.dir else { return };
        match fs::remove_file(path(dir, operation)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%operation, %error, dir = %dir.display(), "a picture of a removed incident is still there");
            }
            _ => {}
        }
    }

    /// The picture that is kept for `operation`, if one is.
    ///
    /// # Errors
    /// When it is there and can't be read.
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

/// Does `work` with the pictures where it may wait for the disk. Whoever asks for it awaits it.
#[allow(
    clippy::disallowed_methods,
    reason = "one short piece of file work per request or verb; no child is spawned there"
)]
pub(crate) fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

fn path(dir: &Path, operation: OperationId) -> PathBuf {
    dir.join(operation.to_string()).with_extension(ENDING)
}

/// Under another name first, so that what has its name is whole.
fn write(dir: &Path, operation: OperationId, picture: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let whole = path(dir, operation);
    let unfinished = whole.with_extension(UNFINISHED);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(picture)?;
    file.sync_all()?;
    fs::rename(unfinished, whole)
}

/// Removes what goes beyond the bounds, the oldest first, and what a crash left unfinished.
/// Operations are named in the order in which they began.
fn make_room(dir: &Path) -> io::Result<()> {
    let mut pictures = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some(ENDING) => match entry.metadata() {
                // It was forgotten in this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => pictures.push((path, found?.len())),
            },
            Some(UNFINISHED) => fs::remove_file(path)?,
            _ => {}
        }
    }
    pictures.sort_unstable();
    let mut bytes = 0;
    for (index, (path, size)) in pictures.iter().rev().enumerate() {
        bytes += size;
        if index >= MOST || bytes > MOST_BYTES {
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
    fn a_picture_comes_back_and_nobody_else_may_read_it() {
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
    fn a_forgotten_picture_is_gone_and_its_neighbour_is_not() {
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
    fn the_oldest_make_room_by_count() {
        let dir = tempfile::tempdir().unwrap();
        let pictures = Pictures::under(dir.path());
        fs::write(dir.path().join("left.part"), b"of a crash").unwrap();
        for number in 0..MOST as u128 + 3 {
            assert!(pictures.keep(operation(number), b"png"));
        }
        assert_eq!(names(dir.path()), MOST);
        assert_eq!(pictures.read(operation(2)).unwrap(), None);
        assert!(pictures.read(operation(3)).unwrap().is_some());
    }

    #[test]
    fn the_oldest_make_room_by_size() {
        let dir = tempfile::tempdir().unwrap();
        let pictures = Pictures::under(dir.path());
        for number in 0..3 {
            let file = fs::File::create(path(dir.path(), operation(number))).unwrap();
            file.set_len(MOST_BYTES / 3).unwrap();
        }
        assert!(pictures.keep(operation(9), &[0; 1024]));
        assert_eq!(pictures.read(operation(0)).unwrap(), None);
        assert_eq!(names(dir.path()), 3);
    }

    #[test]
    fn a_place_that_can_t_be_written_keeps_nothing_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a-file");
        fs::write(&file, b"").unwrap();
        let pictures = Pictures::under(file.join("pictures"));
        assert!(!pictures.keep(operation(1), b"png"));
        assert!(!Pictures::none().keep(operation(1), b"png"));
        assert_eq!(Pictures::none().read(operation(1)).unwrap(), None);
    }
}
