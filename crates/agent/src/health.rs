//! Whether the agent can work, as far as that is known without asking the model.

use std::time::Duration;

use tokio::time::timeout;

use crate::child::{Exit, Spawner};
use crate::refusal::Refusal;
use crate::start::{Child, Started, start};
use crate::wire::RawLine;
use crate::{AgentKind, AgentOptions, PromptError, sandbox};

/// Maximum time for the claude CLI to print its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for another agent: it starts as for a conversation, and its bridge gives up before this.
const BRIDGE_VERSION_TIMEOUT: Duration = Duration::from_secs(30);
const VERSION_MAX_CHARS: usize = 100;

/// Whether the agent can work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHealth {
    /// Whether a prompt is expected to work. It is attempted in any case.
    pub available: bool,
    /// The CLI's version, such as `2.1.197 (Claude Code)`.
    pub version: Option<String>,
    /// Whether the login of the model's API is missing or was refused.
    pub login_failed: bool,
    /// A sentence: what is wrong and what to do, or that all is well.
    pub message: String,
}

impl AgentHealth {
    fn broken(message: String) -> AgentHealth {
        AgentHealth {
            available: false,
            version: None,
            login_failed: false,
            message,
        }
    }

    /// Unavailable if the log can't record what the agent does; `degraded` is the reason.
    pub(crate) fn with_log_state(mut self, degraded: Option<String>) -> AgentHealth {
        if let Some(reason) = degraded.filter(|_| self.available) {
            self.available = false;
            self.message = PromptError::Degraded(reason).to_string();
        }
        self
    }

    /// Unavailable if the model's API has refused the login since; `refusal` is the reason, as a sentence.
    pub(crate) fn with_login_state(mut self, refusal: Option<String>) -> AgentHealth {
        if let Some(sentence) = refusal.filter(|_| self.available) {
            self.available = false;
            self.login_failed = true;
            self.message = sentence;
        }
        self
    }
}

/// Runs the CLI to print its version, and looks for a login.
pub(crate) async fn check_health(options: &AgentOptions, spawner: &Spawner) -> AgentHealth {
    let started = start(options, spawner, None, sandbox::no_connections()).await;
    let Started {
        mut child,
        has_login,
    } = match started {
        Ok(started) => started,
        Err(sentence) => return AgentHealth::broken(sentence),
    };
    let limit = match options.kind {
        AgentKind::Claude => VERSION_TIMEOUT,
        AgentKind::Acp(_) => BRIDGE_VERSION_TIMEOUT,
    };
    let version = timeout(limit, first_line(&mut child)).await.ok().flatten();
    let exit = child.end(VERSION_TIMEOUT).await;
    if !exit.success() {
        return AgentHealth::broken(failed(options, &exit));
    }
    let is_claude = version
        .as_deref()
        .is_some_and(|version| version.contains("Claude Code"));
    if is_claude && !has_login {
        return AgentHealth {
            available: false,
            version,
            login_failed: true,
            message: Refusal::SignedOut.sentence(&options.login_remedy),
        };
    }
    let agent = options.kind.display_name();
    let message = format!(
        "{agent} works: {}.",
        version.as_deref().unwrap_or("no version")
    );
    AgentHealth {
        available: true,
        version,
        login_failed: false,
        message,
    }
}

fn failed(options: &AgentOptions, exit: &Exit) -> String {
    let status = exit.status_text("it did not exit");
    let words = &exit.last_words;
    if options.kind != AgentKind::Claude {
        let agent = options.kind.display_name();
        return format!(
            "{agent} does not work ({status}). {words} Power and checks work without it."
        );
    }
    let command = options.command.display();
    format!(
        "The claude CLI {command} does not work: `--version` failed ({status}). {words} Reinstall it \
         or set agent.command."
    )
}

async fn first_line(child: &mut Child) -> Option<String> {
    let Ok(Some(RawLine::Whole(line))) = child.next().await else {
        return None;
    };
    let line = String::from_utf8_lossy(line);
    let text: String = line.chars().take(VERSION_MAX_CHARS).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
