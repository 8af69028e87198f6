//! The model's last answer to a test question. Every question costs a few tokens, so it is asked at an interval, and
//! the answer is stored in a file: a restarted server does not ask again.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use breakglass_agent::Agents;
use breakglass_model::clock;
use serde::{Deserialize, Serialize};

use super::agent::{self, MODEL_CHECK};
use super::check::{Check, State};
use breakglass_config::Config;

/// Name of the file in `data_dir`.
const FILE_NAME: &str = "model_check.json";
/// Pause after a question without an answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// The same pause if an operator requests the check.
const REQUESTED_RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The result of a test question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModelAnswer {
    /// The model that was asked.
    model: String,
    /// The check `agent.model`; its time is that of the question.
    pub check: Check,
    /// The reason why the model's API refused the login, if it did.
    #[serde(default)]
    refused: Option<String>,
}

impl ModelAnswer {
    /// Loads the stored answer of the configured model, if there is one.
    pub(crate) fn load(config: &Config) -> Option<ModelAnswer> {
        let text = std::fs::read(config.data_dir.join(FILE_NAME)).ok()?;
        let answer: ModelAnswer = serde_json::from_slice(&text).ok()?;
        (answer.model == config.agent.model && answer.check.name == MODEL_CHECK).then_some(answer)
    }

    /// Passes the state of the login to the agents.
    pub(crate) fn report_login(&self, agents: &Agents) {
        match (&self.refused, self.check.state) {
            (Some(why), _) => agents.note_login(Some(why)),
            (None, State::Green) => agents.note_login(None),
            // The failure has another cause than the login.
            _ => {}
        }
    }

    /// Whether the model should be asked again at `now` (milliseconds since 1970). `requested`: by an operator.
    fn is_stale(&self, interval: Duration, requested: bool, now: i64) -> bool {
        let limit = match self.check.state {
            State::Green => interval,
            _ if requested => REQUESTED_RETRY_INTERVAL,
            _ => RETRY_INTERVAL.min(interval),
        };
        let age = clock::milliseconds(&self.check.at)
            .and_then(|at| u64::try_from(now.saturating_sub(at)).ok());
        // An answer from the future means that the clock was wrong.
        age.is_none_or(|age| Duration::from_millis(age) >= limit)
    }
}

/// Asks the model again if the `last` answer is stale, and returns the current answer. `requested`: an operator waits
/// for it. `None` if the configuration switches the question off.
pub(crate) async fn renew(
    config: &Config,
    last: Option<ModelAnswer>,
    requested: bool,
) -> Option<ModelAnswer> {
    let interval = config.agent.model_check?;
    if !config.agent.enabled {
        return None;
    }
    let now = clock::milliseconds(&clock::now()).unwrap_or(0);
    if let Some(last) = last.filter(|last| !last.is_stale(interval, requested, now)) {
        return Some(last);
    }
    let checks = agent::examine(config, true).await;
    let refused = agent::refused_login(&checks).map(str::to_owned);
    let check = checks.into_iter().find(|check| check.name == MODEL_CHECK);
    let check = check.unwrap_or_else(|| Check::untried(MODEL_CHECK, "agent.cell"));
    let model = config.agent.model.clone();
    let answer = ModelAnswer {
        model,
        check,
        refused,
    };
    // Without a question there is no answer to store.
    if !answer.check.untried
        && let Err(error) = save(&config.data_dir, &answer)
    {
        tracing::warn!(%error, "the model's answer cannot be saved: a restarted server asks again");
    }
    Some(answer)
}

fn save(data_dir: &Path, answer: &ModelAnswer) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
    file.write_all(&serde_json::to_vec(answer)?)?;
    file.persist(data_dir.join(FILE_NAME))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_answer_lasts_for_the_interval_and_bad_one_until_requested() {
        const HOUR: i64 = 3_600_000;
        let day = Duration::from_secs(24 * 3600);
        let stale = |check: Check, age: i64, requested: bool| {
            let asked = clock::milliseconds(&check.at).unwrap();
            let model = "sonnet".to_owned();
            let refused = None;
            ModelAnswer {
                model,
                check,
                refused,
            }
            .is_stale(day, requested, asked + age)
        };
        let good = || Check::green(MODEL_CHECK, "sonnet answers.");
        let bad = || Check::red(MODEL_CHECK, "sonnet gives no answer.", "look");
        assert!(!stale(good(), 23 * HOUR, true));
        assert!(stale(good(), 24 * HOUR, false));
        assert!(!stale(bad(), HOUR / 6, false));
        assert!(stale(bad(), HOUR / 4, false));
        assert!(stale(bad(), 10_000, true));
        assert!(!stale(bad(), 9_999, true));
        assert!(stale(good(), -1, false), "an answer from the future");
    }
}
