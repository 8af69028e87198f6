//! The lock that keeps a second server out of a data directory.
//!
//! It is a file lock on the directory itself, so it ends with its process even after a crash. Taking
//! it writes nothing, so it works on a full disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

/// The file with the owner's process id and host name. It is for people only: the lock decides.
const OWNER_FILE: &str = "server.pid";
/// Maximum number of bytes that are read from it.
const OWNER_FILE_MAX_BYTES: u64 = 128;
/// Longest wait for a previous server that is shutting down.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
const ACQUIRE_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The lock on a data directory; dropping it releases the lock.
#[derive(Debug)]
pub struct InstanceLock {
    /// `None` if the file system has no locks.
    locked: Option<(File, PathBuf)>,
}

impl Drop for InstanceLock {
    /// Removes the owner file before the lock is released, so it can't be that of the next server.
    fn drop(&mut self) {
        if let Some((_, path)) = &self.locked {
            let _ = std::fs::remove_file(path.join(OWNER_FILE));
        }
    }
}

/// Another process has locked the directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path}: another breakglass uses this directory ({owner}), and two must not write the same log; \
     stop that one, or set another data_dir"
)]
pub struct AlreadyLocked {
    /// The directory.
    path: String,
    owner: String,
}

impl InstanceLock {
    /// Locks `directory`, which must exist. If the file system has no locks (some network file systems
    /// don't), logs a warning and succeeds.
    ///
    /// # Errors
    /// If another process has the lock.
    pub fn acquire(directory: &Path) -> Result<InstanceLock, AlreadyLocked> {
        let locked = File::open(directory).and_then(|directory| match directory.try_lock() {
            Ok(()) => Ok(Some(directory)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        });
        match locked {
            Ok(Some(file)) => {
                write_owner(directory);
                let locked = Some((file, directory.to_owned()));
                Ok(InstanceLock { locked })
            }
            Ok(None) => Err(AlreadyLocked {
                path: directory.display().to_string(),
                owner: read_owner(directory).unwrap_or_else(|| "unknown process".to_owned()),
            }),
            Err(error) => {
                let path = directory.display();
                tracing::warn!(%error, "{path} can't be locked, so a second server could use it too; use a local file system");
                Ok(InstanceLock { locked: None })
            }
        }
    }

    /// Like [`InstanceLock::acquire`], but waits up to 2 s for a previous server that is shutting down.
    pub async fn acquire_with_retry(directory: &Path) -> Result<InstanceLock, AlreadyLocked> {
        let deadline = Instant::now() + ACQUIRE_TIMEOUT;
        loop {
            match InstanceLock::acquire(directory) {
                Err(_) if Instant::now() < deadline => {
                    tokio::time::sleep(ACQUIRE_RETRY_DELAY).await;
                }
                result => return result,
            }
        }
    }
}

/// Writes the owner file. Replaces an existing file or link instead of following it.
fn write_owner(directory: &Path) {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let text = format!("{} {host}\n", std::process::id());
    let written = NamedTempFile::new_in(directory).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        Ok(file.persist(directory.join(OWNER_FILE))?)
    });
    if let Err(error) = written {
        let path = directory.join(OWNER_FILE);
        tracing::debug!(%error, path = %path.display(), "the owner file could not be written");
    }
}

/// The owner according to the owner file; `None` if the file is missing or malformed.
fn read_owner(directory: &Path) -> Option<String> {
    let text = read_small(directory.join(OWNER_FILE)).ok()?;
    let (process, host) = text.trim_end().split_once(' ')?;
    let process: u32 = process.parse().ok()?;
    let host: String = host.chars().filter(char::is_ascii_graphic).collect();
    Some(format!("process {process} on {host}"))
}

fn read_small(path: PathBuf) -> io::Result<String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    file.take(OWNER_FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn second_lock_is_refused_with_path_and_owner_until_the_first_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let first = InstanceLock::acquire(dir.path()).unwrap();
        let refused = InstanceLock::acquire(dir.path()).unwrap_err().to_string();
        let process = format!("process {} on ", std::process::id());
        assert!(refused.contains(&process), "{refused}");
        assert!(refused.contains(dir.path().to_str().unwrap()), "{refused}");
        drop(first);
        assert!(!dir.path().join(OWNER_FILE).exists());
        assert!(InstanceLock::acquire(dir.path()).is_ok());
    }

    #[test]
    fn lock_covers_every_path_to_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let link = dir.path().join("link");
        fs::create_dir(&data).unwrap();
        symlink(&data, &link).unwrap();
        let _first = InstanceLock::acquire(&data).unwrap();
        assert!(InstanceLock::acquire(&link).is_err());
        assert!(InstanceLock::acquire(&dir.path().join("link/../data/.")).is_err());
    }

    #[test]
    fn owner_file_of_a_crashed_server_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(OWNER_FILE), "1 elsewhere\n").unwrap();
        let _first = InstanceLock::acquire(dir.path()).unwrap();
        let refused = InstanceLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(!refused.contains("elsewhere"), "{refused}");
    }

    #[test]
    fn links_directories_and_pipes_named_like_the_owner_file_are_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let owner_file = dir.path().join(OWNER_FILE);
        let victim = dir.path().join("victim");
        fs::write(&victim, "7 victim\n").unwrap();
        let fifo = |place: &Path| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mkfifoat(rustix::fs::CWD, place, mode).unwrap();
        };
        let obstacles: [&dyn Fn(&Path); 4] = [
            &|place| symlink(&victim, place).unwrap(),
            &|place| fs::create_dir_all(place.join("full")).unwrap(),
            &fifo,
            &|place| fs::write(place, [0xff; 4096]).unwrap(),
        ];
        for obstacle in obstacles {
            let _ = fs::remove_dir_all(&owner_file);
            let _ = fs::remove_file(&owner_file);
            obstacle(&owner_file);
            assert_eq!(read_owner(dir.path()), None);
            let first = InstanceLock::acquire(dir.path()).unwrap();
            let refused = InstanceLock::acquire(dir.path()).unwrap_err().to_string();
            assert!(refused.contains("another breakglass"), "{refused}");
            drop(first);
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "7 victim\n");
    }

    #[test]
    fn directory_that_cannot_be_locked_is_accepted() {
        assert!(InstanceLock::acquire(Path::new("/nowhere/at/all")).is_ok());
    }
}
