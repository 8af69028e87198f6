//! Files with a secret in them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use breakglass_control::ssh::{PrivateKey, load_key};

use super::check::{Check, State};

/// The name of the key's check.
pub(crate) const KEY: &str = "ssh_key";

/// The key, if it loads, and what is to be said of it and of its file.
pub(crate) fn key(path: &Path) -> (Option<PrivateKey>, Check) {
    let key = match load_key(path) {
        Ok(key) => key,
        Err(error) => {
            let remedy = format!(
                "put the key that guest and gate accept into {}, for this user to read, or correct \
                 ssh.key_file",
                path.display()
            );
            return (None, Check::red(KEY, format!("{error}."), remedy));
        }
    };
    let fingerprint = key.fingerprint(Default::default());
    let check = match exposure(path) {
        Some((state, seen)) => {
            let remedy = format!("chmod 600 {}", path.display());
            Check {
                state,
                ..Check::red(KEY, format!("{seen}."), remedy)
            }
        }
        None => Check::green(
            KEY,
            format!("Loaded: {fingerprint}; its owner alone can read it."),
        ),
    };
    (Some(key), check)
}

/// Who else can read or change the file: everybody is too many, its group may be meant.
pub(crate) fn exposure(path: &Path) -> Option<(State, String)> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    let (state, who) = match mode {
        _ if mode & 0o007 != 0 => (State::Red, "everybody"),
        _ if mode & 0o070 != 0 => (State::Amber, "its group"),
        _ => return None,
    };
    let path = path.display();
    Some((state, format!("{path} is open to {who} (mode {mode:03o})")))
}
