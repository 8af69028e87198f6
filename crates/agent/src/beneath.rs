//! Writing where the agent may write as well: below one directory, and never through a link, so that what
//! is written lands nowhere else. A name that is no directory where one is needed makes room for it.
//!
//! Each part of a path is opened by itself and without following. `openat2` would do it in one call, but is
//! missing in gVisor and forbidden by the filters of older container engines.

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

/// A directory, held open.
pub(crate) struct Beneath {
    directory: OwnedFd,
    owner: Option<Account>,
}

impl Beneath {
    /// Opens `directory` itself, which is no link. What is made in it becomes the `owner`'s, if there is one.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn open(directory: &Path, owner: Option<Account>) -> io::Result<Beneath> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        Ok(Beneath { directory, owner })
    }

    /// Makes the directory `path` below it, and those between, each for its owner alone.
    ///
    /// # Errors
    /// What the file system says, and for a path that leads out.
    pub(crate) fn make_dir(&self, path: &Path) -> io::Result<Beneath> {
        let owner = self.owner;
        let mut directory = self.directory.try_clone()?;
        for part in path.components() {
            let Component::Normal(name) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            directory = enter(directory.as_fd(), name, owner)?;
        }
        Ok(Beneath { directory, owner })
    }

    /// Notes that it was used now.
    ///
    /// # Errors
    /// What the file system says.
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

    /// Writes the file `name` in it. A reader sees the old file or the new one, never a part.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], mode: Mode) -> io::Result<()> {
        let fresh = format!("{name}.{}.tmp", Uuid::new_v4().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let here = &self.directory;
        let mut file = File::from(openat(here, fresh.as_str(), flags, mode)?);
        // Whatever the mask of new files says.
        fchmod(&file, mode)?;
        give(file.as_fd(), self.owner)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| Ok(renameat(here, fresh.as_str(), here, name)?));
        if written.is_err() {
            let _ = unlinkat(here, fresh.as_str(), AtFlags::empty());
        }
        written
    }

    /// The file `name` in it, if it is a regular one of at most `most` bytes.
    pub(crate) fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        // A pipe that nobody writes to must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::empty()).ok()?;
        let found = fstat(&file).ok()?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return None;
        }
        let mut bytes = Vec::new();
        File::from(file)
            .take(most + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        (bytes.len() as u64 <= most).then_some(bytes)
    }
}

fn enter(parent: BorrowedFd<'_>, name: &OsStr, owner: Option<Account>) -> io::Result<OwnedFd> {
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
            give(made.as_fd(), owner)?;
            Ok(made)
        }
        Err(Errno::EXIST) => Ok(open()?),
        Err(error) => Err(error.into()),
    }
}

fn give(file: BorrowedFd<'_>, owner: Option<Account>) -> io::Result<()> {
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
    fn what_is_written_lands_beneath_whatever_links_are_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let (home, outside) = (dir.path().join("home"), dir.path().join("outside"));
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir(&home).unwrap();
        fs::write(outside.join("agent.md"), "theirs").unwrap();
        let home_of = Beneath::open(&home, None).unwrap();
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
            let agents = home_of.make_dir(Path::new(".claude/agents")).unwrap();
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
    fn a_path_that_leads_out_and_a_directory_that_is_a_link_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let here = Beneath::open(dir.path(), None).unwrap();
        for path in ["..", "a/../..", "/etc"] {
            assert!(here.make_dir(Path::new(path)).is_err(), "{path}");
        }
        symlink(dir.path(), dir.path().join("link")).unwrap();
        assert!(Beneath::open(&dir.path().join("link"), None).is_err());
    }

    #[test]
    fn only_a_regular_file_of_a_fitting_size_is_read_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let here = Beneath::open(dir.path(), None).unwrap();
        fs::write(dir.path().join("small"), "12345678").unwrap();
        symlink("small", dir.path().join("link")).unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(dir.path().join("pipe"))
            .status();
        assert!(pipe.unwrap().success());
        assert_eq!(here.read("small", 8).as_deref(), Some(&b"12345678"[..]));
        for (name, most) in [
            ("small", 7),
            ("link", 8),
            ("pipe", 8),
            ("missing", 8),
            (".", 8),
        ] {
            assert!(here.read(name, most).is_none(), "{name}");
        }
    }
}
