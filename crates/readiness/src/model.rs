//! The model's last answer. Each costs a few tokens, so it is asked for at an interval, and kept in a
//! file: a server that is started again asks nothing anew.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use breakglass_agent::Agents;
use breakglass_model::clock;
use serde::{Deserialize, Serialize};

use super::agent::{self, MODEL};
use super::check::{Check, State};
use breakglass_config::Config;

/// The file below `data_dir`.
const FILE: &str = "model_check.json";
/// How long a model that gave no answer is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(15 * 60);
/// The same for somebody who asks for it now.
const WHEN_WANTED: Duration = Duration::from_secs(10);

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Which model was asked.
    model: String,
    /// What it makes of the check; its time is when the model was asked.
    pub check: Check,
    /// Why the model's API refused the login, where it did.
    #[serde(default)]
    refused: Option<String>,
}

impl Answer {
    /// What is kept below `data_dir`, if there is something.
    pub(crate) fn kept(config: &Config) -> Option<Answer> {
        let text = std::fs::read(config.data_dir.join(FILE)).ok()?;
        let answer: Answer = serde_json::from_slice(&text).ok()?;
        (answer.model == config.agent.model && answer.check.name == MODEL).then_some(answer)
    }

    /// Tells the agents what this answer means for their login.
    pub(crate) fn tell(&self, agents: &Agents) {
        match (&self.refused, self.check.state) {
            (Some(why), _) => agents.note_login(Some(why)),
            (None, State::Green) => agents.note_login(None),
            // It says nothing of the login.
            _ => {}
        }
    }

    /// Whether it is time to ask anew, `now` in milliseconds since 1970.
    fn is_stale(&self, interval: Duration, wanted: bool, now: i64) -> bool {
        let limit = match self.check.state {
            State::Green => interval,
            _ if wanted => WHEN_WANTED,
            _ => AFTER_FAILURE.min(interval),
        };
        let age = clock::milliseconds(&self.check.at)
            .and_then(|at| u64::try_from(now.saturating_sub(at)).ok());
        // One from the future is no answer of the past.
        age.is_none_or(|age| Duration::from_millis(age) >= limit)
    }
}

/// The answer after asking, where it is time to; `last` is what it was, and `wanted` says that
/// somebody waits. None where the model is never asked.
pub(crate) async fn renew(config: &Config, last: Option<Answer>, wanted: bool) -> Option<Answer> {
    let interval = config.agent.model_check?;
    if !config.agent.enabled {
        return None;
    }
    let now = clock::milliseconds(&clock::now()).unwrap_or(0);
    if let Some(last) = last.filter(|last| !last.is_stale(interval, wanted, now)) {
        return Some(last);
    }
    let tried = agent::examine(config, true).await;
    let refused = agent::refused(&tried).map(str::to_owned);
    let check = tried.into_iter().find(|check| check.name == MODEL);
    let check = check.unwrap_or_else(|| Check::untried(MODEL, "agent.cell"));
    let model = config.agent.model.clone();
    let answer = Answer {
        model,
        check,
        refused,
    };
    // Nothing was asked: the next time it may be.
    if !answer.check.untried
        && let Err(error) = keep(&config.data_dir, &answer)
    {
        tracing::warn!(%error, "the model's answer can't be kept: a server started anew asks again");
    }
    Some(answer)
}

fn keep(data_dir: &Path, answer: &Answer) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
    file.write_all(&serde_json::to_vec(answer)?)?;
    file.persist(data_dir.join(FILE))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_answer_holds_for_the_interval_and_a_bad_one_until_somebody_asks() {
        const HOUR: i64 = 3_600_000;
        let day = Duration::from_secs(24 * 3600);
        let stale = |check: Check, age: i64, wanted: bool| {
            let asked = clock::milliseconds(&check.at).unwrap();
            let model = "sonnet".to_owned();
            let refused = None;
            Answer {
                model,
                check,
                refused,
            }
            .is_stale(day, wanted, asked + age)
        };
        let good = || Check::green(MODEL, "sonnet answers.");
        let bad = || Check::red(MODEL, "sonnet gives no answer.", "look");
        assert!(!stale(good(), 23 * HOUR, true));
        assert!(stale(good(), 24 * HOUR, false));
        assert!(!stale(bad(), HOUR / 6, false));
        assert!(stale(bad(), HOUR / 4, false));
        assert!(stale(bad(), 10_000, true));
        assert!(!stale(bad(), 9_999, true));
        assert!(stale(good(), -1, false), "an answer from the future");
    }
}
