//! What the agent calls the sessions that the server names: a file each, in the agent's own home.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Longest name of a session, in bytes.
const MAX_NAME: usize = 1024;

/// The sessions of one home.
#[derive(Debug)]
pub(crate) struct Sessions(PathBuf);

impl Sessions {
    pub(crate) fn of(home: &Path) -> Sessions {
        Sessions(home.join(".breakglass/sessions"))
    }

    /// What the agent calls the session `name`; none if it is not known.
    pub(crate) fn find(&self, name: Uuid) -> Option<String> {
        let found = fs::read_to_string(self.file(name)).ok()?;
        (1..=MAX_NAME).contains(&found.len()).then_some(found)
    }

    /// Remembers it.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn keep(&self, name: Uuid, agents: &str) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.0)?;
        let fresh = self.0.join(format!("{}.tmp", Uuid::new_v4().simple()));
        let mut open = fs::OpenOptions::new();
        let mut file = open.write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(agents.as_bytes())?;
        fs::rename(&fresh, self.file(name))
    }

    fn file(&self, name: Uuid) -> PathBuf {
        self.0.join(name.to_string())
    }
}
