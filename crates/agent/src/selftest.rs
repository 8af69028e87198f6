//! Runs the CLI outside of any incident, to find out whether it works.

use std::ffi::OsString;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use crate::cell::{self, Program};
use crate::child::Spawner;
use crate::health::check_health;
use crate::plan::{CliSession, Plan};
use crate::refusal::Refusal;
use crate::sandbox::Connected;
use crate::start::{Child, start};
use crate::wire::{self, Line, RawLine, TurnResult};
use crate::{AgentHealth, AgentOptions, TargetNames};

/// Maximum time for the CLI to exit after its answer.
const EXIT_GRACE: Duration = Duration::from_secs(2);
const QUESTION: &str = "Answer with the one word: ready. Use no tool.";
const ANSWER_MAX_CHARS: usize = 200;

/// Whether the CLI works, as far as it prints its version.
pub async fn check_cli(options: &AgentOptions) -> AgentHealth {
    let spawner = Spawner::start(options.account, options.confinement.clone());
    check_health(options, &spawner).await
}

/// Runs this program with `arguments` in the sandbox that the CLI would have, from which it can reach `names`.
/// Returns the lines that it printed, if it succeeded within `time_limit`.
///
/// # Errors
/// A sentence.
pub async fn run_in_sandbox(
    options: &AgentOptions,
    names: &TargetNames,
    arguments: &[OsString],
    connected: Connected,
    time_limit: Duration,
) -> Result<Vec<String>, String> {
    let Some(sandbox) = &options.sandbox else {
        return Err("There is no sandbox.".to_owned());
    };
    let spawner = Spawner::start(options.account, options.confinement.clone());
    let program = Program::Other {
        program: &sandbox.program,
        arguments,
        names,
    };
    let mut child = cell::start(options, &spawner, program, connected).await?;
    let mut lines = vec![];
    let reading = async {
        while let Ok(Some(RawLine::Whole(line))) = child.next().await {
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
    };
    let is_late = timeout(time_limit, reading).await.is_err();
    let exit = child.end(EXIT_GRACE).await;
    if exit.success() && !is_late {
        Ok(lines)
    } else {
        Err(exit.describe("it took too long"))
    }
}

/// Why the model did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Its API refused the login; a sentence with the remedy.
    #[error("{0}")]
    LoginRefused(String),
    /// Another error; a sentence.
    #[error("{0}")]
    Other(String),
}

/// Asks the model one short question through the CLI, and returns the beginning of its answer. `connected`
/// receives the connections of a CLI in a sandbox.
///
/// # Errors
/// [`ModelError`].
pub async fn ask_model(
    options: &AgentOptions,
    connected: Connected,
    time_limit: Duration,
) -> Result<String, ModelError> {
    let spawner = Spawner::start(options.account, options.confinement.clone());
    let placeholder = || TargetNames {
        guest: "guest".to_owned(),
        host: "host".to_owned(),
    };
    let plan = Plan {
        names: options.targets.first().cloned().unwrap_or_else(placeholder),
        conversation: "trial".to_owned(),
        session: CliSession::New(Uuid::new_v4()),
        model: options.model.clone(),
        env: Vec::new(),
        credential: None,
    };
    let started = start(options, &spawner, Some(&plan), connected).await;
    let mut child = started.map_err(ModelError::Other)?.child;
    let answer = timeout(time_limit, converse(&mut child, options)).await;
    let exit = child.end(EXIT_GRACE).await;
    match answer {
        Ok(Some(answer)) => answer,
        Ok(None) => Err(ModelError::Other(format!(
            "{} ended without an answer ({}).",
            options.kind.display_name(),
            exit.describe("no status")
        ))),
        Err(_) => Err(ModelError::Other(format!(
            "No answer within {} s.",
            time_limit.as_secs()
        ))),
    }
}

/// The answer; none if the CLI ended first.
async fn converse(child: &mut Child, options: &AgentOptions) -> Option<Result<String, ModelError>> {
    for line in [wire::initialize("trial"), wire::prompt(QUESTION)] {
        child.send(&line).await.ok()?;
    }
    let mut error_kind = None;
    loop {
        match wire::read(&child.next().await.ok()??).0 {
            Line::Assistant { error, .. } => error_kind = error.map(|kind| kind.to_string()),
            Line::TurnResult(result) => {
                return Some(answer(&result, error_kind.as_deref(), options));
            }
            _ => {}
        }
    }
}

fn answer(
    result: &TurnResult<'_>,
    error_kind: Option<&str>,
    options: &AgentOptions,
) -> Result<String, ModelError> {
    let text = result.result.as_deref().unwrap_or_default();
    let text: String = text.chars().take(ANSWER_MAX_CHARS).collect();
    if !result.failed() && error_kind.is_none() {
        return Ok(text);
    }
    if let Some(refusal) = Refusal::of(result.api_error_status, error_kind, Some(&text)) {
        return Err(ModelError::LoginRefused(
            refusal.sentence(&options.login_remedy),
        ));
    }
    let texts = [&[text][..], &result.errors].concat();
    Err(ModelError::Other(texts.join(" ").trim().to_owned()))
}
