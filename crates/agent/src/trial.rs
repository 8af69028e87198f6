//! The CLI outside of any incident, to find out whether it would work.

use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use crate::cell::Session;
use crate::child::{Child, Launcher};
use crate::health::examine;
use crate::start::{Plan, start};
use crate::wire::{self, Line, RawLine};
use crate::{AgentHealth, AgentOptions, TargetNames};

/// How long the CLI may take to end once it has answered.
const GRACE: Duration = Duration::from_secs(2);
/// What the model is asked: as little as can be.
const QUESTION: &str = "Answer with the one word: ready. Use no tool.";

/// Whether the CLI can work: started by `options` to say its version.
pub async fn try_cli(options: &AgentOptions) -> AgentHealth {
    let launcher = Launcher::start(options.account, options.walls.clone());
    examine(options, &launcher).await
}

/// Asks the model one short question through the CLI; gives its answer's beginning. `limit` is the
/// longest wait for it.
///
/// # Errors
/// A sentence: why there is no answer.
pub async fn try_model(options: &AgentOptions, limit: Duration) -> Result<String, String> {
    let launcher = Launcher::start(options.account, options.walls.clone());
    let nobody = || TargetNames {
        guest: "guest".to_owned(),
        host: "host".to_owned(),
    };
    let plan = Plan {
        names: options.targets.first().cloned().unwrap_or_else(nobody),
        session: Session::New(Uuid::new_v4()),
        model: options.model.clone(),
        env: Vec::new(),
    };
    let mut child = start(options, &launcher, Some(&plan)).await?.child;
    let answer = timeout(limit, converse(&mut child)).await;
    let exit = child.end(GRACE).await;
    match answer {
        Ok(Some(answer)) => answer,
        Ok(None) => Err(format!(
            "The claude CLI ended without an answer ({}).",
            exit.describe("no status")
        )),
        Err(_) => Err(format!("No answer within {} s.", limit.as_secs())),
    }
}

/// The answer; none if the CLI ended first.
async fn converse(child: &mut Child) -> Option<Result<String, String>> {
    for line in [wire::initialize("trial"), wire::prompt(QUESTION)] {
        child.send(&line).await.ok()?;
    }
    loop {
        let RawLine::Whole(line) = child.next().await.ok()?? else {
            continue;
        };
        if let Ok(Line::Ended(ending)) = wire::decode(line) {
            let said = ending.result.as_deref().unwrap_or_default();
            let said: String = said.chars().take(200).collect();
            return Some(match ending.is_error {
                true => Err(said),
                false => Ok(said),
            });
        }
    }
}
