//! The directories of conversations that live in sandboxes: each has its own, below the cell's, so that no
//! conversation reads or changes what another one's CLI keeps. Of all that is in them only the sign-in is
//! shared, which the CLI renews from time to time: the newest counts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::Mode;
use serde::Deserialize;

use crate::account::act_as;
use crate::beneath::Beneath;
use crate::{Account, AgentOptions};

/// Directories that are kept, those that were used last.
const KEPT: usize = 32;
/// The largest sign-in that is read, in bytes.
const SIGN_IN_BYTES: u64 = 64 << 10;
/// Where the CLI keeps it.
const SIGN_IN: (&str, &str) = (".claude", ".credentials.json");

/// Makes the directories of `own`, one of the conversations of `all`, gives it the newest sign-in, and
/// forgets the directories that were not used for longest.
///
/// # Errors
/// What the file system says.
pub(crate) fn open(all: &AgentOptions, own: &AgentOptions) -> io::Result<()> {
    let (acting, owner) = all.hands();
    act_as(acting, || {
        for (parent, path) in [(&all.home, &own.home), (&all.work_dir, &own.work_dir)] {
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            let made = Beneath::open(parent, owner)?.make_dir(Path::new(name))?;
            made.touch()?;
            forget_old(parent);
        }
        share_sign_in(&all.home, &own.home, owner)
    })
}

/// The newest sign-in of any conversation, or the configured one, becomes `own`'s and that of those to come.
fn share_sign_in(all: &Path, own: &Path, owner: Option<Account>) -> io::Result<()> {
    let homes = conversations(all).into_iter().map(|(_, path)| path);
    let signed_in = homes
        .chain([all.to_owned()])
        .filter_map(|home| SignIn::of(&home));
    let Some(newest) = signed_in.max_by_key(|one| one.expires) else {
        return Ok(());
    };
    for home in [all, own] {
        if SignIn::of(home).is_none_or(|had| had.expires < newest.expires) {
            put_sign_in((home, owner), &newest.bytes)?;
        }
    }
    Ok(())
}

fn put_sign_in((home, owner): (&Path, Option<Account>), bytes: &[u8]) -> io::Result<()> {
    let directory = Beneath::open(home, owner)?.make_dir(Path::new(SIGN_IN.0))?;
    directory.write(SIGN_IN.1, bytes, Mode::RUSR | Mode::WUSR)
}

/// Gives the CLI whose home is `home` a sign-in of its own; it becomes the account's in whose sandbox that is
/// a home, or else is written with the rights of `acting`. Unless `anew`, one that is there already stays.
///
/// # Errors
/// What the file system says.
pub fn give_sign_in(
    home: &Path,
    (acting, owner): (Option<Account>, Option<Account>),
    bytes: &[u8],
    anew: bool,
) -> io::Result<()> {
    act_as(acting, || match anew || SignIn::of(home).is_none() {
        true => put_sign_in((home, owner), bytes),
        false => Ok(()),
    })
}

/// A sign-in of the CLI's.
struct SignIn {
    bytes: Vec<u8>,
    /// When it has to be renewed, in milliseconds since 1970.
    expires: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    claude_ai_oauth: Option<Token>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    expires_at: u64,
}

impl SignIn {
    /// That in `home`; of one that says nothing of its end, the beginning of time is that.
    fn of(home: &Path) -> Option<SignIn> {
        let directory = Beneath::open(&home.join(SIGN_IN.0), None).ok()?;
        let bytes = directory.read(SIGN_IN.1, SIGN_IN_BYTES)?;
        let stored: Stored = serde_json::from_slice(&bytes).ok()?;
        let expires = stored.claude_ai_oauth.map_or(0, |token| token.expires_at);
        Some(SignIn { bytes, expires })
    }
}

fn forget_old(parent: &Path) {
    let mut all = conversations(parent);
    all.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    for (_, path) in all.into_iter().skip(KEPT) {
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::debug!(%error, path = %path.display(), "an old conversation's directory stays");
        }
    }
}

/// When each was used last, and where it is. Hidden directories are the cell's own.
fn conversations(parent: &Path) -> Vec<(SystemTime, PathBuf)> {
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

    fn sign_in(home: &Path, expires: u64) {
        let stored = format!(r#"{{"claudeAiOauth":{{"expiresAt":{expires}}}}}"#);
        fs::create_dir_all(home.join(".claude")).unwrap();
        fs::write(home.join(".claude/.credentials.json"), stored).unwrap();
    }

    fn expires(home: &Path) -> u64 {
        SignIn::of(home).unwrap().expires
    }

    #[test]
    fn the_newest_sign_in_is_every_conversations() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = options(dir.path());
        all.work_dir = dir.path().join("work");
        fs::create_dir(&all.work_dir).unwrap();
        sign_in(&all.home, 10);
        let (one, two) = (all.apart("one"), all.apart("two"));
        open(&all, &one).unwrap();
        assert_eq!(expires(&one.home), 10);
        sign_in(&one.home, 20);
        open(&all, &two).unwrap();
        assert_eq!((expires(&two.home), expires(&all.home)), (20, 20));
        fs::write(two.home.join(".claude/.credentials.json"), "nonsense").unwrap();
        open(&all, &two).unwrap();
        assert_eq!(expires(&two.home), 20);
    }

    #[test]
    fn the_directories_that_were_used_last_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = options(dir.path());
        all.work_dir = dir.path().join("work");
        fs::create_dir(&all.work_dir).unwrap();
        for number in 0..KEPT + 5 {
            open(&all, &all.apart(&number.to_string())).unwrap();
        }
        open(&all, &all.apart("10")).unwrap();
        let left = conversations(&all.home);
        assert_eq!(left.len(), KEPT);
        assert!(all.home.join("10").exists() && !all.home.join("4").exists());
    }
}
