//! The last drill: whether people have practised, and how long ago. Every drill has a record of its
//! own that goes with it, so the one that is to count leaves a line where the server finds it.

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

/// The file below `data_dir`.
const FILE: &str = "last_drill.json";
const NAME: &str = "drill";
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What was practised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Practice {
    /// When it ended, as events write it.
    at: String,
    /// What was wrong with the machine.
    scenario: String,
    /// Who took part.
    operators: Vec<String>,
    /// What they asked the agent for.
    prompts: u64,
    /// The verbs that they ran.
    verbs: u64,
}

/// A place where a drill can be noted: one that was written to before anybody practised.
pub struct Place {
    draft: NamedTempFile,
    file: PathBuf,
}

impl Practice {
    /// What operators have done in the drill's own log since `since`; none where they did nothing,
    /// which is no practice.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn of(log: &Log, scenario: &str, since: Time) -> Result<Option<Practice>, LogError> {
        let mut practice = Practice {
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
                    practice.count(&event);
                }
            }
        }
        Ok((practice.prompts + practice.verbs > 0).then_some(practice))
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

impl Place {
    /// In `data_dir`, which is made where it is missing.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn prepare(data_dir: &Path) -> io::Result<Place> {
        std::fs::create_dir_all(data_dir)?;
        Ok(Place {
            draft: NamedTempFile::new_in(data_dir)?,
            file: data_dir.join(FILE),
        })
    }

    /// Notes `practice` as the last one; gives the file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn note(mut self, practice: &Practice) -> io::Result<PathBuf> {
        let text = serde_json::to_vec(practice)?;
        self.draft.write_all(&text)?;
        // The server may have another account than whoever practised.
        let readable = Permissions::from_mode(0o644);
        self.draft.as_file().set_permissions(readable)?;
        self.draft.as_file().sync_all()?;
        self.draft
            .persist(&self.file)
            .map_err(|error| error.error)?;
        Ok(self.file)
    }
}

/// How long ago the last drill was; none where nobody wants to know.
pub(crate) fn check(config: &Config) -> Option<Check> {
    let most = i64::from(config.drill_max_age_days);
    if most == 0 {
        return None;
    }
    let file = match config.file() {
        Some(file) => file.display().to_string(),
        None => "FILE".to_owned(),
    };
    let remedy = format!("practise, and have it noted: breakglass drill --config {file}");
    let Some((practice, days)) = last(&config.data_dir) else {
        let evidence = format!("No drill is noted in {}.", config.data_dir.display());
        return Some(Check::amber(NAME, evidence, remedy));
    };
    let Practice {
        scenario,
        operators,
        prompts,
        verbs,
        ..
    } = practice;
    let evidence = format!(
        "The last drill was {days} days ago: {scenario}, by {}; {prompts} prompts, {verbs} verbs.",
        operators.join(", ")
    );
    Some(match days {
        days if days > most => Check::amber(NAME, evidence, remedy),
        _ => Check::green(NAME, evidence),
    })
}

/// The last one, and its age in days.
fn last(data_dir: &Path) -> Option<(Practice, i64)> {
    let text = std::fs::read(data_dir.join(FILE)).ok()?;
    let practice: Practice = serde_json::from_slice(&text).ok()?;
    let now = clock::milliseconds(&clock::now())?;
    let age = now.saturating_sub(clock::milliseconds(&practice.at)?);
    Some((practice, age.max(0) / DAY_MS))
}
