//! The CLI outside of any incident, to find out whether it would work.

use std::ffi::OsString;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use crate::cell::Session;
use crate::child::{Child, Launcher};
use crate::health::examine;
use crate::refusal::Refusal;
use crate::sandbox::Connected;
use crate::start::{Plan, start, start_own};
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

/// Starts this program with `arguments` in the sandbox that the CLI would have, where it can reach `names`;
/// gives what it said, line by line, if it ended well within `limit`.
///
/// # Errors
/// A sentence.
pub async fn try_inside(
    options: &AgentOptions,
    (names, arguments): (&TargetNames, &[OsString]),
    connected: Connected,
    limit: Duration,
) -> Result<Vec<String>, String> {
    let Some(sandbox) = &options.sandbox else {
        return Err("There is no sandbox.".to_owned());
    };
    let launcher = Launcher::start(options.account, options.walls.clone());
    let own = (names, arguments);
    let child = start_own((options, sandbox), &launcher, own, connected).await?;
    let mut child = Child::Local(Box::new(child));
    let mut said = vec![];
    let listening = async {
        while let Ok(Some(RawLine::Whole(line))) = child.next().await {
            said.push(String::from_utf8_lossy(line).into_owned());
        }
    };
    let late = timeout(limit, listening).await.is_err();
    let exit = child.end(GRACE).await;
    match exit.status.is_some_and(|status| status.success()) && !late {
        true => Ok(said),
        false => Err(exit.describe("it took too long")),
    }
}

/// Why the model gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Its API refuses the login; a sentence with the remedy.
    #[error("{0}")]
    Refused(String),
    /// Something else; a sentence.
    #[error("{0}")]
    Other(String),
}

/// Asks the model one short question through the CLI; gives its answer's beginning. `limit` is the
/// longest wait for it; `connected` takes the connections of a CLI in a sandbox.
///
/// # Errors
/// [`NoAnswer`].
pub async fn try_model(
    options: &AgentOptions,
    connected: Connected,
    limit: Duration,
) -> Result<String, NoAnswer> {
    let launcher = Launcher::start(options.account, options.walls.clone());
    let nobody = || TargetNames {
        guest: "guest".to_owned(),
        host: "host".to_owned(),
    };
    let plan = Plan {
        names: options.targets.first().cloned().unwrap_or_else(nobody),
        conversation: "trial".to_owned(),
        session: Session::New(Uuid::new_v4()),
        model: options.model.clone(),
        env: Vec::new(),
        pass: None,
    };
    let started = start(options, &launcher, Some(&plan), connected).await;
    let mut child = started.map_err(NoAnswer::Other)?.child;
    let answer = timeout(limit, converse(&mut child)).await;
    let exit = child.end(GRACE).await;
    match answer {
        Ok(Some(Ok(said))) => Ok(said),
        Ok(Some(Err((refusal, said)))) => Err(match refusal {
            Some(refusal) => NoAnswer::Refused(refusal.sentence(&options.sign_in)),
            None => NoAnswer::Other(said),
        }),
        Ok(None) => Err(NoAnswer::Other(format!(
            "{} ended without an answer ({}).",
            options.kind.called(),
            exit.describe("no status")
        ))),
        Err(_) => {
            let late = format!("No answer within {} s.", limit.as_secs());
            Err(NoAnswer::Other(late))
        }
    }
}

/// What the CLI says instead of an answer, and what it means where the login is refused.
type Instead = (Option<Refusal>, String);

/// The answer; none if the CLI ended first.
async fn converse(child: &mut Child) -> Option<Result<String, Instead>> {
    for line in [wire::initialize("trial"), wire::prompt(QUESTION)] {
        child.send(&line).await.ok()?;
    }
    let mut kind = None;
    loop {
        match wire::read(&child.next().await.ok()??).0 {
            Line::Said { error, .. } => kind = error.map(|word| word.to_string()),
            Line::Ended(ending) => {
                let said = ending.result.as_deref().unwrap_or_default();
                let said: String = said.chars().take(200).collect();
                if !ending.failed() && kind.is_none() {
                    return Some(Ok(said));
                }
                let status = ending.api_error_status;
                let refusal = Refusal::of(status, kind.as_deref(), Some(&said));
                let said = [&[said][..], &ending.errors].concat().join(" ");
                return Some(Err((refusal, said.trim().to_owned())));
            }
            _ => {}
        }
    }
}
