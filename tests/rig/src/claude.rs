//! The real claude CLI, pinned by `tests/claude/package-lock.json`.

use std::path::{Path, PathBuf};

/// The pinned CLI.
///
/// # Panics
/// If it is not installed; the message is the line that installs it.
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
