use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::Kind;
use crate::PromptError;
use crate::cell;
use crate::child::{Child, Launcher};
use crate::options::AgentOptions;
use crate::refusal::Refusal;
use crate::sandbox;
use crate::start::{Started, start};
use crate::wire::RawLine;

/// How long the CLI may take to say its version.
const LIMIT: Duration = Duration::from_secs(10);
/// The same for another agent, which starts as for a conversation and is given up by its bridge before.
const BRIDGE_LIMIT: Duration = Duration::from_secs(30);

/// Variables that hold a login of the model's API.
const LOGINS: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
];

/// Whether the agent can work, as far as can be known without asking the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHealth {
    /// Whether a prompt is expected to work. One is tried in any case.
    pub available: bool,
    /// What the CLI calls itself, such as `2.1.197 (Claude Code)`.
    pub version: Option<String>,
    /// Whether it is the login of the model's API that is missing or was refused.
    pub login: bool,
    /// A sentence: what is wrong and what to do; or that all is well.
    pub message: String,
}

/// Why the model's API refused the login when it was last asked, as a sentence; none if it did not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login(Arc<Mutex<Option<String>>>);

impl Login {
    pub(crate) fn refused(&self, sentence: &str) {
        *self.lock() = Some(sentence.to_owned());
    }

    pub(crate) fn works(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AgentHealth {
    pub(crate) fn broken(message: String) -> AgentHealth {
        AgentHealth {
            available: false,
            version: None,
            login: false,
            message,
        }
    }

    /// As it is, unless the record does not hold what the agent would do.
    pub(crate) fn with_record(mut self, degraded: Option<String>) -> AgentHealth {
        if let Some(why) = degraded.filter(|_| self.available) {
            self.available = false;
            self.message = PromptError::Degraded(why).to_string();
        }
        self
    }

    /// As it is, unless the model's API has refused the login since.
    pub(crate) fn with_login(mut self, login: &Login) -> AgentHealth {
        let refused = login.lock().clone();
        if let Some(sentence) = refused.filter(|_| self.available) {
            self.available = false;
            self.login = true;
            self.message = sentence;
        }
        self
    }
}

/// Starts the CLI to ask its version, and looks for a login.
pub(crate) async fn examine(options: &AgentOptions, launcher: &Launcher) -> AgentHealth {
    let Started {
        mut child,
        signed_in,
    } = match start(options, launcher, None, sandbox::unconnected()).await {
        Ok(started) => started,
        Err(sentence) => return AgentHealth::broken(sentence),
    };
    let limit = match options.kind {
        Kind::Claude => LIMIT,
        Kind::Acp(_) => BRIDGE_LIMIT,
    };
    let called = options.kind.called();
    let version = timeout(limit, first_line(&mut child)).await.ok().flatten();
    let exit = child.end(LIMIT).await;
    let command = options.command.display();
    if !exit.status.is_some_and(|status| status.success()) {
        let how = exit.status.map(|status| status.to_string()).or(exit.lost);
        let how = how.unwrap_or_else(|| "no end".to_owned());
        if options.kind != Kind::Claude {
            return AgentHealth::broken(format!(
                "{called} does not work ({how}). {} Power and checks work without it.",
                exit.last_words
            ));
        }
        return AgentHealth::broken(format!(
            "The claude CLI {command} does not work: `--version` failed ({how}). {} Reinstall it \
             or set agent.command.",
            exit.last_words
        ));
    }
    let real = version
        .as_deref()
        .is_some_and(|version| version.contains("Claude Code"));
    if real && !signed_in {
        return AgentHealth {
            available: false,
            version,
            login: true,
            message: Refusal::SignedOut.sentence(&options.sign_in),
        };
    }
    let message = format!(
        "{called} works: {}.",
        version.as_deref().unwrap_or("no version")
    );
    AgentHealth {
        available: true,
        version,
        login: false,
        message,
    }
}

async fn first_line(child: &mut Child) -> Option<String> {
    match child.next().await {
        Ok(Some(RawLine::Whole(line))) => {
            let text: String = String::from_utf8_lossy(line).chars().take(100).collect();
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        }
        _ => None,
    }
}

/// Whether the CLI of this machine has a login of the model's API.
pub(crate) fn has_login(options: &AgentOptions) -> bool {
    let in_environment = options
        .env
        .iter()
        .any(|(name, value)| LOGINS.contains(&name.as_str()) && !value.is_empty());
    in_environment || Path::exists(&cell::credentials(&options.home))
}
