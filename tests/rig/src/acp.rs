//! The real agents that speak ACP, pinned by `tests/acp/package-lock.json`.

use std::path::{Path, PathBuf};

/// codex-acp.
///
/// # Panics
/// If it is not installed; the message contains the command to install it.
#[must_use]
pub fn codex() -> PathBuf {
    installed(
        &[
            "@zed-industries/codex-acp-linux-x64",
            "@zed-industries/codex-acp-linux-arm64",
        ],
        "codex-acp",
    )
}

/// opencode, which speaks ACP as `opencode acp`.
///
/// # Panics
/// Like [`codex`].
#[must_use]
pub fn opencode() -> PathBuf {
    installed(&["opencode-linux-x64-baseline"], "opencode")
}

fn installed(packages: &[&str], program: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = |package: &&str| {
        tests
            .join("acp/node_modules")
            .join(package)
            .join("bin")
            .join(program)
    };
    let mut files = packages.iter().map(file);
    files.find(|file| file.exists()).unwrap_or_else(|| {
        panic!("{program} of the tests is missing; install it: npm ci --prefix tests/acp")
    })
}
