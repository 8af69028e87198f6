use std::collections::BTreeMap;

use breakglass_journal::{Actor, EventBody, TurnNumber};
use serde_json::Value;

use super::{Effect, words};
use crate::wire::ToolResult;

/// What is kept of one output or text, in bytes.
const MAX_KEPT: usize = 64 * 1024;
/// The longest summary, in characters.
const MAX_SUMMARY: usize = 300;
/// Calls of one turn past which a further one is not recorded as new; a turn has a few dozen.
const MAX_CALLS: usize = 10_000;

/// Whether the agent may use this tool.
pub(super) fn allowed(tool: &str) -> bool {
    matches!(tool, "Bash" | "Read" | "Grep" | "Glob")
}

/// Calls of tools by id, and whether each still runs.
#[derive(Debug, Default)]
pub(super) struct OpenTools {
    calls: BTreeMap<String, bool>,
    /// The call that the CLI asked about last.
    asked: Option<String>,
}

impl OpenTools {
    pub(super) fn any(&self) -> bool {
        self.calls.values().any(|open| *open)
    }

    /// The CLI is about to run this call.
    pub(super) fn asked(&mut self, id: &str) {
        self.asked = Some(id.to_owned());
    }

    /// The call that runs now: the one that the CLI asked about last, or else one that is open.
    pub(super) fn current(&self) -> Option<&str> {
        let open = |id: &&String| self.calls.get(*id).is_some_and(|open| *open);
        let asked = self.asked.as_ref().filter(open);
        asked
            .or_else(|| self.calls.keys().find(open))
            .map(String::as_str)
    }

    /// Whether the log knows this call.
    pub(super) fn recorded(&self, id: &str) -> bool {
        self.calls.contains_key(id)
    }

    /// Records a call, unless it is known: the CLI announces it, and then may ask about it.
    pub(super) fn start(
        &mut self,
        turn: TurnNumber,
        id: &str,
        tool: &str,
        input: Value,
    ) -> Option<Effect> {
        if self.calls.contains_key(id) || self.calls.len() >= MAX_CALLS {
            return None;
        }
        self.calls.insert(id.to_owned(), true);
        let summary = summary(&input);
        Some(Effect::Record(
            Actor::Agent,
            EventBody::ToolStarted {
                turn,
                tool_call: id.to_owned(),
                tool: words::bounded_line(tool),
                summary,
                input: bounded_input(input),
            },
        ))
    }

    /// Records the end of a call that runs; of any other, nothing.
    pub(super) fn finish(&mut self, turn: TurnNumber, result: &ToolResult<'_>) -> Option<Effect> {
        let open = self.calls.get_mut(&*result.id)?;
        if !std::mem::replace(open, false) {
            return None;
        }
        let (output, omitted) = kept(&result.output);
        let omitted_bytes = omitted + result.omitted;
        Some(finished(
            turn,
            result.id.to_string(),
            result.is_error,
            output,
            omitted_bytes,
        ))
    }

    /// Records the end of every call that still runs.
    pub(super) fn close(&mut self, turn: TurnNumber, why: &str) -> Vec<Effect> {
        let open = std::mem::take(&mut self.calls)
            .into_iter()
            .filter(|(_, open)| *open);
        open.map(|(id, _)| finished(turn, id, true, why.to_owned(), 0))
            .collect()
    }
}

fn finished(
    turn: TurnNumber,
    tool_call: String,
    is_error: bool,
    output: String,
    omitted_bytes: u64,
) -> Effect {
    let body = EventBody::ToolFinished {
        turn,
        tool_call,
        is_error,
        output,
        omitted_bytes,
    };
    Effect::Record(Actor::Agent, body)
}

/// `text` as it is kept: control sequences visible, head and tail where it is long; and how many
/// bytes were left out.
pub(super) fn kept(text: &str) -> (String, u64) {
    breakglass_journal::bounded(&breakglass_journal::visible(text), MAX_KEPT)
}

/// One line for people: the command, the file, the pattern.
fn summary(input: &Value) -> String {
    let word = ["command", "file_path", "pattern"]
        .iter()
        .find_map(|key| input.get(key)?.as_str());
    let text = word.map_or_else(|| input.to_string(), str::to_owned);
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let mut short: String = breakglass_journal::visible(line.trim())
        .chars()
        .take(MAX_SUMMARY)
        .collect();
    if short.chars().count() >= MAX_SUMMARY || text.trim().lines().count() > 1 {
        short.push('…');
    }
    short
}

/// An input is kept whole unless it is absurdly long; then its text is, as head and tail.
fn bounded_input(input: Value) -> Value {
    let text = input.to_string();
    if text.len() <= MAX_KEPT {
        input
    } else {
        Value::String(kept(&text).0)
    }
}
