//! One turn as the bridge sees it.

use crate::calls::Calls;

/// Maximum size of a block of text; longer text becomes several blocks.
const BLOCK_MAX_BYTES: usize = 64 * 1024;
/// Maximum number of prompts in one turn to an agent that ends its turn because of a denied call.
const CONTINUATIONS_MAX: u32 = 20;

/// From the operator's prompt to its result.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Id of the prompt's request; none before the agent has a session.
    pub(crate) request: Option<u64>,
    /// The prompt to send once it has one.
    pub(crate) waiting_prompt: Option<String>,
    pub(crate) calls: Calls,
    /// The operator stopped it.
    pub(crate) is_stopped: bool,
    /// Why the bridge is ending it.
    pub(crate) given_up: Option<String>,
    /// Number of consecutive failed attempts to reach the model.
    pub(crate) failed_attempts: u32,
    /// Whether a failed attempt was reported to the server.
    pub(crate) is_failure_reported: bool,
    /// Why calls were denied, until the agent reacts.
    denials: Vec<String>,
    continuations: u32,
    text: String,
    message: Option<String>,
    last_text: String,
}

impl Turn {
    /// A turn whose prompt waits for the agent's session.
    pub(crate) fn waiting(prompt: String) -> Turn {
        Turn {
            waiting_prompt: Some(prompt),
            ..Turn::default()
        }
    }

    /// Adds text of the agent; returns a block that is now complete.
    pub(crate) fn add_text(&mut self, text: &str, message: Option<&str>) -> Option<String> {
        let is_another = message.is_some() && self.message.as_deref() != message;
        let complete = (is_another || self.text.len() > BLOCK_MAX_BYTES)
            .then(|| self.flush())
            .flatten();
        self.message = message.map(str::to_owned);
        self.text.push_str(text);
        self.has_reacted();
        complete
    }

    /// Returns the incomplete block, if it is not empty.
    pub(crate) fn flush(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            return None;
        }
        self.last_text.clone_from(&text);
        Some(text)
    }

    /// The model has answered, and the agent continues.
    pub(crate) fn has_reacted(&mut self) {
        self.failed_attempts = 0;
        self.denials.clear();
    }

    pub(crate) fn add_denial(&mut self, reason: &str) {
        self.denials.push(reason.to_owned());
    }

    /// The agent's last text.
    pub(crate) fn last_text(&self) -> &str {
        &self.last_text
    }

    /// The prompt for an agent that has ended its turn because a call was denied: an ACP response to a question
    /// can't contain a reason, and many agents end their turn on a denial.
    pub(crate) fn continuation(&mut self) -> Option<String> {
        if self.denials.is_empty() || self.continuations >= CONTINUATIONS_MAX {
            return None;
        }
        self.continuations += 1;
        let reasons = std::mem::take(&mut self.denials).join("\n");
        Some(format!(
            "This was not run: {reasons}\nGo on without it. Do not try the same in other words: say what you \
             wanted and why, or find a way that only reads."
        ))
    }
}
