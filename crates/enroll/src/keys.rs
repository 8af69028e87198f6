//! The files of the key pair. The private key is made on this machine and never leaves it.
//!
//! ```text
//! FILE          the current key
//! FILE.new      the new key during a rotation, until it has been tested and replaces FILE
//! FILE.old.pub  the public half of the previous key, until its lines are removed
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use breakglass_control::ssh::{PrivateKey, generate_key, load_key, write_key};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::error::{EnrollError, Result, file};
use super::key_line::PublicHalf;
use super::pins;

/// A key pair on this machine.
#[derive(Debug, Clone)]
pub(crate) struct KeyPair {
    pub private: Arc<PrivateKey>,
    pub public: PublicHalf,
}

/// The paths of the three files.
#[derive(Debug, Clone)]
pub(crate) struct KeyFiles {
    pub file: PathBuf,
    pub new: PathBuf,
    pub old: PathBuf,
}

impl KeyFiles {
    pub(crate) fn of(file: &Path) -> KeyFiles {
        let with = |suffix: &str| {
            let mut name = file.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        KeyFiles {
            file: file.to_owned(),
            new: with(".new"),
            old: with(".old.pub"),
        }
    }

    /// The public half of the previous key, as long as its lines may still exist.
    pub(crate) fn previous(&self, current: &PublicHalf) -> Result<Option<PublicHalf>> {
        let text = pins::read(&self.old)?;
        Ok(PublicHalf::parse(&text).filter(|old| old != current))
    }

    /// Replaces the current key with the new one, which has been tested, and saves the public half of the old one.
    pub(crate) fn promote(&self, current: &PublicHalf) -> Result<()> {
        pins::replace(&self.old, &format!("{} {}\n", current.kind, current.blob))?;
        let failed = file(&self.new, "moved to the key's path");
        let replace = || {
            pins::copy_permissions(&fs::File::open(&self.new)?, &self.file)?;
            fs::rename(&self.new, &self.file)?;
            sync_dir(&self.file)
        };
        replace().map_err(failed)
    }

    /// Removes all files that exist, the current key last.
    pub(crate) fn delete(&self) -> Result<()> {
        for path in [&self.old, &self.new, &self.file] {
            remove_if_exists(path)?;
        }
        Ok(())
    }
}

/// Loads the key in `path`, if the file exists.
pub(crate) fn load(path: &Path) -> Result<Option<KeyPair>> {
    if !path.try_exists().map_err(file(path, "examined"))? {
        return Ok(None);
    }
    let key = load_key(path).map_err(|error| EnrollError::Usage(error.to_string()))?;
    pair(key, path).map(Some)
}

/// Creates a key in `path`, atomically; an existing file is not touched.
pub(crate) fn create(path: &Path) -> Result<KeyPair> {
    let failed = file(path, "created");
    let key = generate_key().map_err(&failed)?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let write = || {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        // A file that an interrupted run left behind.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_key(&key, &part)?;
        renameat_with(CWD, &part, CWD, path, RenameFlags::NOREPLACE)?;
        sync_dir(path)
    };
    write().map_err(failed)?;
    pair(key, path)
}

/// Removes a file; it is no error if it does not exist.
pub(crate) fn remove_if_exists(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(file(path, "removed")),
    }
}

fn pair(key: PrivateKey, path: &Path) -> Result<KeyPair> {
    let public = PublicHalf::of(key.public_key()).ok_or_else(|| {
        EnrollError::Failed(format!(
            "{} has a public half that cannot be written",
            path.display()
        ))
    })?;
    Ok(KeyPair {
        private: Arc::new(key),
        public,
    })
}

fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    fs::File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn created_key_is_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(dir.path().join("key.part"), "half").unwrap();
        let made = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(create(&path).is_err());
        assert_eq!(load(&path).unwrap().unwrap().public, made.public);
        assert!(load(&dir.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn promoted_key_keeps_the_mode_and_the_old_one_is_saved() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(&dir.path().join("key"));
        let old = create(&files.file).unwrap();
        let new = create(&files.new).unwrap();
        fs::set_permissions(&files.file, fs::Permissions::from_mode(0o400)).unwrap();
        files.promote(&old.public).unwrap();
        assert_eq!(fs::metadata(&files.file).unwrap().mode() & 0o777, 0o400);
        assert_eq!(load(&files.file).unwrap().unwrap().public, new.public);
        assert_eq!(
            files.previous(&new.public).unwrap(),
            Some(old.public.clone())
        );
        assert_eq!(files.previous(&old.public).unwrap(), None);
        files.delete().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
