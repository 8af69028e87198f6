//! The agent's ids of the server's sessions: one file each, in the agent's home.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Maximum length of an agent's session id.
const ID_MAX_BYTES: usize = 1024;

/// The sessions of one home.
#[derive(Debug)]
pub(crate) struct Sessions(PathBuf);

impl Sessions {
    pub(crate) fn of(home: &Path) -> Sessions {
        Sessions(home.join(".breakglass/sessions"))
    }

    /// The agent's id of the session `name`; none if it is not known.
    pub(crate) fn find(&self, name: Uuid) -> Option<String> {
        let found = fs::read_to_string(self.file(name)).ok()?;
        (1..=ID_MAX_BYTES).contains(&found.len()).then_some(found)
    }

    /// Stores the agent's id of the session `name`.
    ///
    /// # Errors
    /// The file system's error.
    pub(crate) fn store(&self, name: Uuid, id: &str) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.0)?;
        let temporary = self.0.join(format!("{}.tmp", Uuid::new_v4().simple()));
        let mut open = fs::OpenOptions::new();
        let mut file = open
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(id.as_bytes())?;
        fs::rename(&temporary, self.file(name))
    }

    fn file(&self, name: Uuid) -> PathBuf {
        self.0.join(name.to_string())
    }
}
