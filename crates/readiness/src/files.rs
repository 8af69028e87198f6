//! Checks of files that contain secrets.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use breakglass_control::ssh::{PrivateKey, load_key};

use super::check::{Check, State};

/// Name of the SSH key's check.
pub(crate) const KEY_CHECK: &str = "ssh_key";

/// Loads the key. Returns it, if that worked, with the check of its file.
pub(crate) fn key(path: &Path) -> (Option<PrivateKey>, Check) {
    let key = match load_key(path) {
        Ok(key) => key,
        Err(error) => {
            let remedy = format!(
                "put the key that guest and gate accept into {}, readable for this account, or correct \
                 ssh.key_file",
                path.display()
            );
            return (None, Check::red(KEY_CHECK, format!("{error}."), remedy));
        }
    };
    let fingerprint = key.fingerprint(Default::default());
    let check = match exposure(path) {
        Some((state, evidence)) => {
            let remedy = format!("chmod 600 {}", path.display());
            Check {
                state,
                ..Check::red(KEY_CHECK, format!("{evidence}."), remedy)
            }
        }
        None => Check::green(
            KEY_CHECK,
            format!("Loaded: {fingerprint}; only its owner can read it."),
        ),
    };
    (Some(key), check)
}

/// Whether others than the owner can read or change the file: red for everyone, amber for the group, which may be
/// intended.
pub(crate) fn exposure(path: &Path) -> Option<(State, String)> {
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    let (state, who) = match mode {
        _ if mode & 0o007 != 0 => (State::Red, "everyone"),
        _ if mode & 0o070 != 0 => (State::Amber, "its group"),
        _ => return None,
    };
    let path = path.display();
    Some((
        state,
        format!("{path} is accessible for {who} (mode {mode:03o})"),
    ))
}
