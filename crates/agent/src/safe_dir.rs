//! Access to a directory that the agent may write to as well: the server's reads and writes never follow a link,
//! so they never leave the directory. A file or link in the place of a needed directory is removed.
//!
//! Each part of a path is opened by itself. `openat2` would do it in one call, but is missing in gVisor and
//! forbidden by the filters of older container engines.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, Uid, fchmod, fchown,
    fstat, futimens, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

use crate::Account;

/// An open directory.
pub(crate) struct SafeDir {
    directory: OwnedFd,
    owner: Option<Account>,
}

impl SafeDir {
    /// Opens `directory`, which must not be a link. New entries will belong to `owner`, if there is one.
    ///
    /// # Errors
    /// The file system's error.
    pub(crate) fn open(directory: &Path, owner: Option<Account>) -> io::Result<SafeDir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        Ok(SafeDir { directory, owner })
    }

    /// Opens the directory `path` below this one. Missing directories are created with mode 0700.
    ///
    /// # Errors
    /// The file system's error; [`io::ErrorKind::InvalidInput`] for a path that leads outside.
    pub(crate) fn open_or_create_dir(&self, path: &Path) -> io::Result<SafeDir> {
        let owner = self.owner;
        let mut directory = self.directory.try_clone()?;
        for part in path.components() {
            let Component::Normal(name) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            directory = open_or_create(directory.as_fd(), name, owner)?;
        }
        Ok(SafeDir { directory, owner })
    }

    /// Sets its modification time to now.
    ///
    /// # Errors
    /// The file system's error.
    pub(crate) fn touch(&self) -> io::Result<()> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        Ok(futimens(&self.directory, &times)?)
    }

    /// Replaces the file `name` atomically.
    ///
    /// # Errors
    /// The file system's error.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], mode: Mode) -> io::Result<()> {
        let temporary = format!("{name}.{}.tmp", Uuid::new_v4().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let directory = &self.directory;
        let mut file = File::from(openat(directory, temporary.as_str(), flags, mode)?);
        // The umask may have removed bits.
        fchmod(&file, mode)?;
        set_owner(file.as_fd(), self.owner)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| Ok(renameat(directory, temporary.as_str(), directory, name)?));
        if written.is_err() {
            let _ = unlinkat(directory, temporary.as_str(), AtFlags::empty());
        }
        written
    }

    /// Reads the file `name`, if it is a regular file of at most `max_bytes`.
    pub(crate) fn read(&self, name: &str, max_bytes: u64) -> Option<Vec<u8>> {
        // Opening a pipe must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::empty()).ok()?;
        let found = fstat(&file).ok()?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return None;
        }
        let mut bytes = Vec::new();
        File::from(file)
            .take(max_bytes + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        (bytes.len() as u64 <= max_bytes).then_some(bytes)
    }
}

fn open_or_create(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    owner: Option<Account>,
) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || openat(parent, name, flags, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        Err(Errno::LOOP | Errno::NOTDIR) => unlinkat(parent, name, AtFlags::empty())?,
        opened => return Ok(opened?),
    }
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => {
            let made = open()?;
            set_owner(made.as_fd(), owner)?;
            Ok(made)
        }
        Err(Errno::EXIST) => Ok(open()?),
        Err(error) => Err(error.into()),
    }
}

fn set_owner(file: BorrowedFd<'_>, owner: Option<Account>) -> io::Result<()> {
    let Some(Account { uid, gid }) = owner else {
        return Ok(());
    };
    Ok(fchown(
        file,
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
    )?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn writes_stay_below_the_directory_whatever_links_are_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (home, outside) = (dir.path().join("home"), dir.path().join("outside"));
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir(&home).unwrap();
        fs::write(outside.join("agent.md"), "theirs").unwrap();
        let home_dir = SafeDir::open(&home, None).unwrap();
        for links in [
            vec![(home.join(".claude"), outside.clone())],
            vec![(home.join(".claude"), "../outside".into())],
            vec![(home.join(".claude/agents"), outside.clone())],
            vec![(
                home.join(".claude/agents/agent.md"),
                outside.join("agent.md"),
            )],
        ] {
            let _ = fs::remove_dir_all(home.join(".claude"));
            for (link, to) in links {
                fs::create_dir_all(link.parent().unwrap()).unwrap();
                symlink(to, link).unwrap();
            }
            let agents = home_dir
                .open_or_create_dir(Path::new(".claude/agents"))
                .unwrap();
            agents.write("agent.md", b"ours", Mode::RUSR).unwrap();
            let read = fs::read_to_string(home.join(".claude/agents/agent.md"));
            assert_eq!(read.unwrap(), "ours");
            assert_eq!(
                fs::read_to_string(outside.join("agent.md")).unwrap(),
                "theirs"
            );
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_path_that_leads_outside_and_a_directory_that_is_a_link_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let safe_dir = SafeDir::open(dir.path(), None).unwrap();
        for path in ["..", "a/../..", "/etc"] {
            assert!(
                safe_dir.open_or_create_dir(Path::new(path)).is_err(),
                "{path}"
            );
        }
        symlink(dir.path(), dir.path().join("link")).unwrap();
        assert!(SafeDir::open(&dir.path().join("link"), None).is_err());
    }

    #[test]
    fn only_a_regular_file_of_a_limited_size_is_read_and_a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let safe_dir = SafeDir::open(dir.path(), None).unwrap();
        fs::write(dir.path().join("small"), "12345678").unwrap();
        symlink("small", dir.path().join("link")).unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(dir.path().join("pipe"))
            .status();
        assert!(pipe.unwrap().success());
        assert_eq!(safe_dir.read("small", 8).as_deref(), Some(&b"12345678"[..]));
        for (name, max_bytes) in [
            ("small", 7),
            ("link", 8),
            ("pipe", 8),
            ("missing", 8),
            (".", 8),
        ] {
            assert!(safe_dir.read(name, max_bytes).is_none(), "{name}");
        }
    }
}
