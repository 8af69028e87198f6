//! The agent's account, and how the server accesses files that belong to it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::Path;
use std::thread;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The account that the CLI runs as, if it is not the server's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The user id; never 0.
    pub uid: u32,
    /// Its only group.
    pub gid: u32,
}

impl Account {
    /// Makes this account the owner of `path`, and sets its mode. Of a link, the link itself changes its owner.
    /// The directory above must belong to the server, so that no other file can take its place meanwhile.
    ///
    /// # Errors
    /// The file system's error.
    pub fn own(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        lchown(path, Some(self.uid), Some(self.gid))
    }

    /// Whether the account can read a file with this owner and mode.
    #[must_use]
    pub fn may_read(&self, file: &fs::Metadata) -> bool {
        let bit = match (file.uid() == self.uid, file.gid() == self.gid) {
            (true, _) => 0o400,
            (false, true) => 0o040,
            (false, false) => 0o004,
        };
        file.mode() & bit != 0
    }

    /// Gives the calling thread the account's rights to files, for good.
    fn assume(self) -> io::Result<()> {
        set_thread_groups(&[])?;
        set_thread_res_gid(None, Gid::from_raw(self.gid), None)?;
        // The real and the saved id stay the server's, so that the account can't signal the thread.
        set_thread_res_uid(None, Uid::from_raw(self.uid), None)?;
        Ok(())
    }
}

/// How the server accesses the files of a cell.
#[derive(Debug, Clone, Copy, Default)]
pub struct CellAccess {
    /// The account whose rights the server takes on; none for its own rights.
    pub rights: Option<Account>,
    /// The owner of the files that the server writes; none if that is the writing account.
    pub owner: Option<Account>,
}

/// Does `work` with the rights of `account`. The CLI may have placed links in its directories: they must not lead
/// the server to anything that the CLI itself can't access.
///
/// # Errors
/// The error of `work`, or the reason why the rights could not be taken on.
pub fn act_as<T: Send>(
    account: Option<Account>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let Some(account) = account else {
        return work();
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("agent-account".to_owned());
        // On Linux each thread has its own ids, and they end with it.
        let acting = thread.spawn_scoped(scope, || {
            account.assume()?;
            work()
        })?;
        acting.join().unwrap_or_else(|_| {
            Err(io::Error::other(
                "the work for the agent's account was interrupted",
            ))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_accounts_directory_gives_the_server_no_access() {
        assert!(
            rustix::process::getuid().is_root(),
            "only root may act as another account: run the tests as root"
        );
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let account = Account {
            uid: 64_321,
            gid: 64_321,
        };
        let (own, private) = (dir.path().join("own"), dir.path().join("private"));
        for path in [&own, &private] {
            fs::create_dir(path).unwrap();
        }
        fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
        account.own(&own, 0o700).unwrap();
        std::os::unix::fs::symlink(&private, own.join("link")).unwrap();
        let write = |path: &Path| act_as(Some(account), || fs::write(path, "text"));
        write(&own.join("file")).unwrap();
        let refused = write(&own.join("link/file")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::metadata(own.join("file")).unwrap().uid(), account.uid);
        assert!(rustix::process::geteuid().is_root());
    }
}
