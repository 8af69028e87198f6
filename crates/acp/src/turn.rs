//! One turn as the bridge sees it.

use crate::calls::Calls;

/// The longest block of text that is put together, in bytes; a longer one is several.
const MAX_BLOCK: usize = 64 * 1024;
/// How often an agent that ends its turn over a denied call is asked to go on, in one turn.
const MAX_ANEW: u32 = 20;

/// From the operator's prompt to its result.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// The request that the agent works on; none before it has a session.
    pub(crate) request: Option<u64>,
    /// What is to be said to it once it has one.
    pub(crate) waiting: Option<String>,
    pub(crate) calls: Calls,
    /// The operator stopped it.
    pub(crate) stopped: bool,
    /// Why the bridge ends it.
    pub(crate) given_up: Option<String>,
    /// Tries of the model that failed in a row.
    pub(crate) tries: u32,
    /// Whether it was told that the model does not answer.
    pub(crate) told_tries: bool,
    /// Why calls were denied, as long as the agent has not reacted.
    denied: Vec<String>,
    anew: u32,
    text: String,
    message: Option<String>,
    last: String,
}

impl Turn {
    /// The agent typed; gives a block that is whole by now.
    pub(crate) fn typed(&mut self, text: &str, message: Option<&str>) -> Option<String> {
        let another = message.is_some() && self.message.as_deref() != message;
        let whole = (another || self.text.len() > MAX_BLOCK)
            .then(|| self.flush())
            .flatten();
        self.message = message.map(str::to_owned);
        self.text.push_str(text);
        self.alive();
        whole
    }

    /// Gives the block that was being typed, if there is anything in it.
    pub(crate) fn flush(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            return None;
        }
        self.last.clone_from(&text);
        Some(text)
    }

    /// The model answers, and the agent goes on.
    pub(crate) fn alive(&mut self) {
        self.tries = 0;
        self.denied.clear();
    }

    pub(crate) fn denied(&mut self, why: &str) {
        self.denied.push(why.to_owned());
    }

    /// What the agent said last.
    pub(crate) fn last_words(&self) -> &str {
        &self.last
    }

    /// What to tell an agent that has ended its turn because a call was denied: ACP's answer to a
    /// question has no room for a reason, and many agents take it for the end.
    pub(crate) fn anew(&mut self) -> Option<String> {
        if self.denied.is_empty() || self.anew >= MAX_ANEW {
            return None;
        }
        self.anew += 1;
        let why = std::mem::take(&mut self.denied).join("\n");
        Some(format!(
            "This was not run: {why}\nGo on without it. Do not try the same in other words: say what you \
             wanted and why, or find a way that only reads."
        ))
    }
}
