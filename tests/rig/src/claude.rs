//! The real claude CLI, pinned by `tests/claude/package-lock.json`.

use std::path::{Path, PathBuf};

/// The pinned CLI.
///
/// # Panics
/// If it is not installed; the message contains the command to install it.
#[must_use]
pub fn claude() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let command = tests.join("claude/node_modules/.bin/claude");
    assert!(
        command.exists(),
        "the claude CLI of the tests is missing; install it: npm ci --prefix tests/claude"
    );
    command
}

/// The pinned CLI in `dir`, for an account that can't reach the checkout.
///
/// # Panics
/// Like [`claude`], and if it can't be put there.
#[must_use]
pub fn claude_in(dir: &Path) -> PathBuf {
    let real = claude().canonicalize().unwrap();
    let command = dir.join("claude");
    // A copy if the directory is on another file system.
    if std::fs::hard_link(&real, &command).is_err() {
        std::fs::copy(&real, &command).unwrap();
    }
    command
}
