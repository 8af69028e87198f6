//! How far everything was told: what a restart goes on from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use breakglass_model::{IncidentId, Time};
use serde::{Deserialize, Serialize};

use super::store;

/// What is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Events before this time are not notified.
    pub begun: Time,
    /// How many notifications were made that have no name of their own in the log.
    pub count: u64,
    /// For each incident that was active in the last day, the last `seq` that was looked at.
    pub incidents: BTreeMap<IncidentId, u64>,
    /// The checks that were told not to be green, and how they were.
    pub checks: BTreeMap<String, String>,
    /// The guests that were told to be down.
    pub down: Vec<String>,
}

impl Told {
    /// From now on.
    pub(crate) fn nothing() -> Told {
        Told {
            begun: Time::now(),
            count: 0,
            incidents: BTreeMap::new(),
            checks: BTreeMap::new(),
            down: Vec::new(),
        }
    }

    /// A name for what has none in the log. It is the same again if its telling was not saved.
    pub(crate) fn name(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}-{}-{}", self.begun, self.count)
    }
}

/// That, and its file.
#[derive(Debug)]
pub(crate) struct Progress {
    path: PathBuf,
    saved: Option<Told>,
    pub told: Told,
}

impl Progress {
    /// Where it is kept.
    pub(crate) fn file(dir: &Path) -> PathBuf {
        dir.join("progress.json")
    }

    /// Goes on where an earlier server was, or begins now.
    pub(crate) fn open(path: PathBuf) -> Progress {
        let saved: Option<Told> = store::load(&path);
        let told = saved.clone().unwrap_or_else(Told::nothing);
        let mut progress = Progress { path, saved, told };
        progress.save();
        progress
    }

    /// Writes it where something changed. A file that can't be written costs a repetition at the most.
    pub(crate) fn save(&mut self) {
        if self.saved.as_ref() == Some(&self.told) {
            return;
        }
        match store::save(&self.path, &self.told) {
            Ok(()) => self.saved = Some(self.told.clone()),
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "how far was notified is not saved; a restart may repeat it");
                // Said once for each change, not once a second.
                self.saved = Some(self.told.clone());
            }
        }
    }
}
