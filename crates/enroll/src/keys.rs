//! The key pair's files. The private half is made here and never leaves.
//!
//! ```text
//! FILE          the key that works
//! FILE.new      a rotation's new key, until it is proven and takes FILE's place
//! FILE.old.pub  the public half of the key before, until its lines are gone
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use breakglass_control::ssh::{PrivateKey, generate_key, load_key, write_key};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::error::{EnrollError, Result, file};
use super::line::Public;
use super::pins;

/// A key that is here.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub private: Arc<PrivateKey>,
    pub public: Public,
}

/// The three files.
#[derive(Debug, Clone)]
pub(crate) struct KeyFiles {
    pub file: PathBuf,
    pub new: PathBuf,
    pub old: PathBuf,
}

impl KeyFiles {
    pub(crate) fn beside(file: &Path) -> KeyFiles {
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

    /// The public half of the key before, while its lines may still stand.
    pub(crate) fn before(&self, current: &Public) -> Result<Option<Public>> {
        let text = pins::read(&self.old)?;
        Ok(Public::parse(&text).filter(|old| old != current))
    }

    /// The proven new key takes the place of the one that works, which is remembered by its public half.
    pub(crate) fn promote(&self, current: &Public) -> Result<()> {
        pins::replace(&self.old, &format!("{} {}\n", current.kind, current.blob))?;
        let failed = file(&self.new, "moved into the key's place");
        let move_it = || {
            pins::like(&fs::File::open(&self.new)?, &self.file)?;
            fs::rename(&self.new, &self.file)?;
            sync_dir(&self.file)
        };
        move_it().map_err(failed)
    }

    /// Removes what is there of all three, the working key last.
    pub(crate) fn delete(&self) -> Result<()> {
        for path in [&self.old, &self.new, &self.file] {
            forget(path)?;
        }
        Ok(())
    }
}

/// The key in `path`, if there is one.
pub(crate) fn load(path: &Path) -> Result<Option<Pair>> {
    if !path.try_exists().map_err(file(path, "looked at"))? {
        return Ok(None);
    }
    let key = load_key(path).map_err(|error| EnrollError::Usage(error.to_string()))?;
    pair(key, path).map(Some)
}

/// Makes a key in `path`, whole or not at all; one that is there already is not touched.
pub(crate) fn make(path: &Path) -> Result<Pair> {
    let failed = file(path, "made");
    let key = generate_key().map_err(&failed)?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let write = || {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        // Of a run that was interrupted.
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

/// Removes a file that may be gone already.
pub(crate) fn forget(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(file(path, "removed")),
    }
}

fn pair(key: PrivateKey, path: &Path) -> Result<Pair> {
    let public = Public::of(key.public_key()).ok_or_else(|| {
        EnrollError::Failed(format!(
            "{} has a public half that can't be written",
            path.display()
        ))
    })?;
    Ok(Pair {
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
    fn a_made_key_is_private_and_a_second_one_never_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(dir.path().join("key.part"), "half").unwrap();
        let made = make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(make(&path).is_err());
        assert_eq!(load(&path).unwrap().unwrap().public, made.public);
        assert!(load(&dir.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn a_promoted_key_has_the_mode_of_the_old_one_which_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::beside(&dir.path().join("key"));
        let (old, new) = (make(&files.file).unwrap(), make(&files.new).unwrap());
        fs::set_permissions(&files.file, fs::Permissions::from_mode(0o400)).unwrap();
        files.promote(&old.public).unwrap();
        assert_eq!(fs::metadata(&files.file).unwrap().mode() & 0o777, 0o400);
        assert_eq!(load(&files.file).unwrap().unwrap().public, new.public);
        assert_eq!(files.before(&new.public).unwrap(), Some(old.public.clone()));
        assert_eq!(files.before(&old.public).unwrap(), None);
        files.delete().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
