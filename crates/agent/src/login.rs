use std::sync::Arc;

use parking_lot::Mutex;

use crate::{AgentOptions, cell};

/// Variables that hold a login of the model's API.
const LOGIN_VARIABLES: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
];

/// Whether the model's API refused the login when it was last asked. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoginState(Arc<Mutex<Option<String>>>);

impl LoginState {
    /// `reason` is a sentence.
    pub(crate) fn set_refused(&self, reason: &str) {
        *self.0.lock() = Some(reason.to_owned());
    }

    pub(crate) fn set_accepted(&self) {
        *self.0.lock() = None;
    }

    /// Why the login was refused, as a sentence.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

/// Whether the CLI on this machine has a login of the model's API.
pub(crate) fn has_login(options: &AgentOptions) -> bool {
    let mut variables = options.env.iter();
    variables.any(|(name, value)| LOGIN_VARIABLES.contains(&name.as_str()) && !value.is_empty())
        || cell::credentials(&options.home).exists()
}
