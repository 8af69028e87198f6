//! One process for each data directory: a lock on the directory itself, which ends with its process
//! however that ends. Nothing has to be written to take it, so a full disk keeps nobody from power.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

/// Beside the record: who holds the directory, for people. It decides nothing.
const HOLDER: &str = "server.pid";
/// Most bytes of it that are read.
const MOST: u64 = 128;
/// How long a predecessor that is just ending is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// A data directory that is held until this is dropped.
#[derive(Debug)]
pub struct Hold {
    /// None where the file system has no locks.
    locked: Option<(File, PathBuf)>,
}

impl Drop for Hold {
    /// Takes the name away while the lock still holds, so never a successor's.
    fn drop(&mut self) {
        if let Some((_, path)) = &self.locked {
            let _ = std::fs::remove_file(path.join(HOLDER));
        }
    }
}

/// Another process holds the directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path}: another breakglass has it open ({holder}), and two would write one record; end that one, \
     or name another data_dir"
)]
pub struct Taken {
    /// The directory.
    path: String,
    holder: String,
}

impl Hold {
    /// Takes `directory`, which is there. Where it can't be locked at all (some network file systems
    /// have no locks) the log says so, and it counts as taken.
    ///
    /// # Errors
    /// When another process has it.
    pub fn take(directory: &Path) -> Result<Hold, Taken> {
        let held = File::open(directory).and_then(|directory| match directory.try_lock() {
            Ok(()) => Ok(Some(directory)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        });
        match held {
            Ok(Some(held)) => {
                note(directory);
                let locked = Some((held, directory.to_owned()));
                Ok(Hold { locked })
            }
            Ok(None) => Err(Taken {
                path: directory.display().to_string(),
                holder: holder(directory).unwrap_or_else(|| "which one is not known".to_owned()),
            }),
            Err(error) => {
                let path = directory.display();
                tracing::warn!(%error, "{path} can't be locked, so nothing keeps a second server from it; use a local file system");
                Ok(Hold { locked: None })
            }
        }
    }

    /// The same, and waits a moment for a predecessor that is just ending.
    pub async fn take_over(directory: &Path) -> Result<Hold, Taken> {
        let begun = Instant::now();
        loop {
            match Hold::take(directory) {
                Err(_) if begun.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
                taken => return taken,
            }
        }
    }
}

/// Writes who this is. A name in the way is replaced, never written through.
fn note(directory: &Path) {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let text = format!("{} {host}\n", std::process::id());
    let written = NamedTempFile::new_in(directory).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        Ok(file.persist(directory.join(HOLDER))?)
    });
    if let Err(error) = written {
        let path = directory.join(HOLDER);
        tracing::debug!(%error, path = %path.display(), "the holder's number is not written");
    }
}

/// Who wrote that it holds the directory; whatever else has that name tells nothing.
fn holder(directory: &Path) -> Option<String> {
    let text = read_small(directory.join(HOLDER)).ok()?;
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
    file.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_second_is_refused_with_path_and_holder_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Hold::take(dir.path()).unwrap();
        let refused = Hold::take(dir.path()).unwrap_err().to_string();
        let process = format!("process {} on ", std::process::id());
        assert!(refused.contains(&process), "{refused}");
        assert!(refused.contains(dir.path().to_str().unwrap()), "{refused}");
        drop(first);
        assert!(!dir.path().join(HOLDER).exists());
        assert!(Hold::take(dir.path()).is_ok());
    }

    #[test]
    fn a_directory_is_one_by_whatever_path_it_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let (data, link) = (dir.path().join("data"), dir.path().join("link"));
        fs::create_dir(&data).unwrap();
        symlink(&data, &link).unwrap();
        let _first = Hold::take(&data).unwrap();
        assert!(Hold::take(&link).is_err());
        assert!(Hold::take(&dir.path().join("link/../data/.")).is_err());
    }

    #[test]
    fn a_number_that_an_earlier_crash_left_keeps_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(HOLDER), "1 elsewhere\n").unwrap();
        let _first = Hold::take(dir.path()).unwrap();
        let refused = Hold::take(dir.path()).unwrap_err().to_string();
        assert!(!refused.contains("elsewhere"), "{refused}");
    }

    #[test]
    fn whatever_stands_in_the_place_of_the_holders_number_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (place, victim) = (dir.path().join(HOLDER), dir.path().join("victim"));
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
            let _ = fs::remove_dir_all(&place);
            let _ = fs::remove_file(&place);
            obstacle(&place);
            assert_eq!(holder(dir.path()), None);
            let first = Hold::take(dir.path()).unwrap();
            let refused = Hold::take(dir.path()).unwrap_err().to_string();
            assert!(refused.contains("another breakglass"), "{refused}");
            drop(first);
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "7 victim\n");
    }

    #[test]
    fn a_directory_that_can_t_be_locked_keeps_nobody_from_power() {
        assert!(Hold::take(Path::new("/nowhere/at/all")).is_ok());
    }
}
