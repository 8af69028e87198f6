//! The last notified state, on disk: a restart continues from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use breakglass_model::{IncidentId, Time};
use serde::{Deserialize, Serialize};

use super::store;

/// The last notified state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notified {
    /// Events before this time are not notified.
    pub begun: Time,
    /// Number of notifications so far that have no id from the log.
    pub count: u64,
    /// For each incident that was active in the last day, the `seq` of the last event that was read.
    pub incidents: BTreeMap<IncidentId, u64>,
    /// The checks that are not green in the last notification, with their states.
    pub checks: BTreeMap<String, String>,
    /// The guests that are down in the last notification.
    pub down: Vec<String>,
}

impl Notified {
    /// The state of a server that has notified nothing and starts now.
    pub(crate) fn starting_now() -> Notified {
        Notified {
            begun: Time::now(),
            count: 0,
            incidents: BTreeMap::new(),
            checks: BTreeMap::new(),
            down: Vec::new(),
        }
    }

    /// A new id for a notification without an id from the log. If this state is not saved, the next id is the same.
    pub(crate) fn next_id(&mut self, prefix: &str) -> String {
        self.count += 1;
        format!("{prefix}-{}-{}", self.begun, self.count)
    }
}

/// The last notified state and its file.
#[derive(Debug)]
pub(crate) struct NotifiedFile {
    path: PathBuf,
    saved: Option<Notified>,
    pub current: Notified,
}

impl NotifiedFile {
    /// The file's path in `dir`.
    pub(crate) fn path_in(dir: &Path) -> PathBuf {
        dir.join("progress.json")
    }

    /// Loads the state of an earlier server, or starts with a new one.
    pub(crate) fn open(path: PathBuf) -> NotifiedFile {
        let saved: Option<Notified> = store::load(&path);
        let current = saved.clone().unwrap_or_else(Notified::starting_now);
        let mut file = NotifiedFile {
            path,
            saved,
            current,
        };
        file.save();
        file
    }

    /// Saves the state if it changed. If the file cannot be written, a restart repeats notifications at most.
    pub(crate) fn save(&mut self) {
        if self.saved.as_ref() == Some(&self.current) {
            return;
        }
        match store::save(&self.path, &self.current) {
            Ok(()) => self.saved = Some(self.current.clone()),
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the notified state cannot be saved; a restart may repeat notifications");
                // Warn once per change, not every second.
                self.saved = Some(self.current.clone());
            }
        }
    }
}
