//! The directories of conversations in sandboxes. Each conversation has its own below the cell's, so that none
//! can read or change the files of another one's CLI. They only share the login, which the CLI renews from time
//! to time: the newest one counts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::Mode;
use serde::Deserialize;

use crate::account::{CellAccess, act_as};
use crate::safe_dir::SafeDir;
use crate::{Account, AgentOptions};

/// Maximum number of directories that are kept; the least recently used ones are removed.
const DIRS_MAX: usize = 32;
const LOGIN_MAX_BYTES: u64 = 64 << 10;
/// Where the claude CLI keeps its login, below its home.
pub(super) const LOGIN_DIR: &str = ".claude";
pub(super) const LOGIN_FILE: &str = ".credentials.json";

/// Creates the directories of `own`, one of the conversations of the cell `all`, copies the newest login into it,
/// and removes the least recently used directories.
///
/// # Errors
/// The file system's error.
pub(super) fn open(all: &AgentOptions, own: &AgentOptions) -> io::Result<()> {
    let access = all.access();
    act_as(access.rights, || {
        for (parent, path) in [(&all.home, &own.home), (&all.work_dir, &own.work_dir)] {
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            let parent_dir = SafeDir::open(parent, access.owner)?;
            parent_dir.open_or_create_dir(Path::new(name))?.touch()?;
            remove_old(parent);
        }
        share_login(&all.home, &own.home, access.owner)
    })
}

/// Copies the newest login, of any conversation or the configured one, to `own` and to later conversations.
fn share_login(all: &Path, own: &Path, owner: Option<Account>) -> io::Result<()> {
    let homes = conversation_dirs(all).into_iter().map(|(_, path)| path);
    let logins = homes
        .chain([all.to_owned()])
        .filter_map(|home| Login::read(&home));
    let Some(newest) = logins.max_by_key(|login| login.expires_ms) else {
        return Ok(());
    };
    for home in [all, own] {
        if Login::read(home).is_none_or(|login| login.expires_ms < newest.expires_ms) {
            put_login(home, owner, &newest.bytes)?;
        }
    }
    Ok(())
}

fn put_login(home: &Path, owner: Option<Account>, bytes: &[u8]) -> io::Result<()> {
    let directory = SafeDir::open(home, owner)?.open_or_create_dir(Path::new(LOGIN_DIR))?;
    directory.write(LOGIN_FILE, bytes, Mode::RUSR | Mode::WUSR)
}

/// Writes the login of the CLI whose home is `home`. An existing login stays, unless `overwrite`.
///
/// # Errors
/// The file system's error.
pub fn write_login(
    home: &Path,
    access: CellAccess,
    bytes: &[u8],
    overwrite: bool,
) -> io::Result<()> {
    act_as(access.rights, || {
        if overwrite || Login::read(home).is_none() {
            put_login(home, access.owner, bytes)
        } else {
            Ok(())
        }
    })
}

struct Login {
    bytes: Vec<u8>,
    /// When it has to be renewed, in milliseconds since 1970; 0 if it does not say.
    expires_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredLogin {
    claude_ai_oauth: Option<StoredToken>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredToken {
    expires_at: u64,
}

impl Login {
    fn read(home: &Path) -> Option<Login> {
        let directory = SafeDir::open(&home.join(LOGIN_DIR), None).ok()?;
        let bytes = directory.read(LOGIN_FILE, LOGIN_MAX_BYTES)?;
        let stored: StoredLogin = serde_json::from_slice(&bytes).ok()?;
        let expires_ms = stored.claude_ai_oauth.map_or(0, |token| token.expires_at);
        Some(Login { bytes, expires_ms })
    }
}

fn remove_old(parent: &Path) {
    let mut all = conversation_dirs(parent);
    all.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    for (_, path) in all.into_iter().skip(DIRS_MAX) {
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::debug!(%error, path = %path.display(), "an old conversation's directory was not removed");
        }
    }
}

/// When each directory was last used, and its path. Hidden directories are the cell's own.
fn conversation_dirs(parent: &Path) -> Vec<(SystemTime, PathBuf)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(root: &Path) -> AgentOptions {
        let options = AgentOptions::new("claude", root.join("home"));
        fs::create_dir_all(&options.work_dir).unwrap();
        options
    }

    fn store_login(home: &Path, expires: u64) {
        let stored = format!(r#"{{"claudeAiOauth":{{"expiresAt":{expires}}}}}"#);
        fs::create_dir_all(home.join(".claude")).unwrap();
        fs::write(home.join(".claude/.credentials.json"), stored).unwrap();
    }

    fn expires(home: &Path) -> u64 {
        Login::read(home).unwrap().expires_ms
    }

    #[test]
    fn every_conversation_gets_the_newest_login() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = options(dir.path());
        all.work_dir = dir.path().join("work");
        fs::create_dir(&all.work_dir).unwrap();
        store_login(&all.home, 10);
        let (one, two) = (all.for_conversation("one"), all.for_conversation("two"));
        open(&all, &one).unwrap();
        assert_eq!(expires(&one.home), 10);
        store_login(&one.home, 20);
        open(&all, &two).unwrap();
        assert_eq!((expires(&two.home), expires(&all.home)), (20, 20));
        fs::write(two.home.join(".claude/.credentials.json"), "nonsense").unwrap();
        open(&all, &two).unwrap();
        assert_eq!(expires(&two.home), 20);
    }

    #[test]
    fn the_directories_used_last_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = options(dir.path());
        all.work_dir = dir.path().join("work");
        fs::create_dir(&all.work_dir).unwrap();
        for number in 0..DIRS_MAX + 5 {
            open(&all, &all.for_conversation(&number.to_string())).unwrap();
        }
        open(&all, &all.for_conversation("10")).unwrap();
        let left = conversation_dirs(&all.home);
        assert_eq!(left.len(), DIRS_MAX);
        assert!(all.home.join("10").exists() && !all.home.join("4").exists());
    }
}
