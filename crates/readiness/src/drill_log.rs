//! The drill log: the last drill, in a file in `data_dir`, and the check of its age. A drill has its own incident log,
//! which is deleted with it, so a drill that should count writes this file for the server.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use breakglass_log::{Log, LogError};
use breakglass_model::{Actor, Event, EventBody, Time, clock};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::check::Check;
use breakglass_config::Config;

/// Name of the file in `data_dir`.
const FILE_NAME: &str = "last_drill.json";
/// Name of the check.
const CHECK_NAME: &str = "drill";
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A completed drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedDrill {
    /// The time of its end, RFC 3339 in UTC.
    at: String,
    /// The scenario: the fault of the simulated machine.
    scenario: String,
    /// The operators who took part.
    operators: Vec<String>,
    /// The number of their prompts.
    prompts: u64,
    /// The number of verbs that they ran.
    verbs: u64,
}

/// The file of the drill log. It is opened before the drill begins, so that a drill is not lost because the file cannot
/// be written.
pub struct DrillLog {
    draft: NamedTempFile,
    file: PathBuf,
}

impl CompletedDrill {
    /// Summarises the actions of operators in the drill's log since `since`; `None` without any action, because such a
    /// drill does not count.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn from_log(
        log: &Log,
        scenario: &str,
        since: Time,
    ) -> Result<Option<CompletedDrill>, LogError> {
        let mut drill = CompletedDrill {
            at: clock::now(),
            scenario: scenario.to_owned(),
            operators: Vec::new(),
            prompts: 0,
            verbs: 0,
        };
        for incident in log.incidents().await? {
            let mut events = log.read(incident.incident, 0);
            while let Some(event) = events.next().await? {
                if event.at >= since {
                    drill.count(&event);
                }
            }
        }
        Ok((drill.prompts + drill.verbs > 0).then_some(drill))
    }

    fn count(&mut self, event: &Event) {
        let Actor::Operator(operator) = &event.actor else {
            return;
        };
        match event.body {
            EventBody::Prompt { .. } => self.prompts += 1,
            EventBody::VerbStarted { .. } => self.verbs += 1,
            _ => return,
        }
        if !self.operators.contains(operator) {
            self.operators.push(operator.clone());
        }
    }
}

impl DrillLog {
    /// Opens the file in `data_dir`, which is created if it does not exist.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn open(data_dir: &Path) -> io::Result<DrillLog> {
        std::fs::create_dir_all(data_dir)?;
        Ok(DrillLog {
            draft: NamedTempFile::new_in(data_dir)?,
            file: data_dir.join(FILE_NAME),
        })
    }

    /// Records `drill` as the last one. Returns the file's path.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn record(mut self, drill: &CompletedDrill) -> io::Result<PathBuf> {
        let text = serde_json::to_vec(drill)?;
        self.draft.write_all(&text)?;
        // The server may run with another account than the drill.
        let readable = Permissions::from_mode(0o644);
        self.draft.as_file().set_permissions(readable)?;
        self.draft.as_file().sync_all()?;
        self.draft
            .persist(&self.file)
            .map_err(|error| error.error)?;
        Ok(self.file)
    }
}

/// The check of the last drill's age; `None` if the configuration sets no limit.
pub(crate) fn check(config: &Config) -> Option<Check> {
    let max_days = i64::from(config.drill_max_age_days);
    if max_days == 0 {
        return None;
    }
    let file = match config.file() {
        Some(file) => file.display().to_string(),
        None => "FILE".to_owned(),
    };
    let remedy = format!("run a drill and record it: breakglass drill --config {file}");
    let Some((drill, days)) = last(&config.data_dir) else {
        let evidence = format!("No drill is recorded in {}.", config.data_dir.display());
        return Some(Check::amber(CHECK_NAME, evidence, remedy));
    };
    let CompletedDrill {
        scenario,
        operators,
        prompts,
        verbs,
        ..
    } = drill;
    let evidence = format!(
        "The last drill was {days} days ago: {scenario}, by {}; {prompts} prompts, {verbs} verbs.",
        operators.join(", ")
    );
    Some(match days {
        days if days > max_days => Check::amber(CHECK_NAME, evidence, remedy),
        _ => Check::green(CHECK_NAME, evidence),
    })
}

/// The last drill, and its age in days.
fn last(data_dir: &Path) -> Option<(CompletedDrill, i64)> {
    let text = std::fs::read(data_dir.join(FILE_NAME)).ok()?;
    let drill: CompletedDrill = serde_json::from_slice(&text).ok()?;
    let now = clock::milliseconds(&clock::now())?;
    let age = now.saturating_sub(clock::milliseconds(&drill.at)?);
    Some((drill, age.max(0) / DAY_MS))
}
