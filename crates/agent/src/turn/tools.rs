use std::collections::BTreeMap;

use breakglass_model::{Actor, EventBody, TurnNumber};
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

/// The calls of a turn by id.
#[derive(Debug, Default)]
pub(super) struct OpenTools {
    calls: BTreeMap<String, Call>,
}

#[derive(Debug)]
struct Call {
    open: bool,
    is_command: bool,
    leave: Leave,
}

/// Whether the CLI asked about a call before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// Not yet, and perhaps it does not: some commands it runs unasked.
    Unasked,
    /// It waits for the answer.
    Asked,
    /// It may run, and so it does.
    Given,
}

impl OpenTools {
    pub(super) fn any(&self) -> bool {
        self.calls.values().any(|call| call.open)
    }

    /// The CLI asks about this call.
    pub(super) fn asked(&mut self, id: &str) {
        self.set(id, Leave::Asked);
    }

    /// It was let run.
    pub(super) fn given(&mut self, id: &str) {
        self.set(id, Leave::Given);
    }

    fn set(&mut self, id: &str, leave: Leave) {
        if let Some(call) = self.calls.get_mut(id) {
            call.leave = leave;
        }
    }

    /// The calls that run a command now: those that were let run; where there is none, those that may run
    /// unasked.
    pub(super) fn running(&self) -> Vec<&str> {
        let with = |leave: Leave| {
            let of = move |call: &Call| call.open && call.is_command && call.leave == leave;
            let calls = self.calls.iter().filter(move |(_, call)| of(call));
            calls.map(|(id, _)| id.as_str()).collect::<Vec<_>>()
        };
        let given = with(Leave::Given);
        if given.is_empty() {
            with(Leave::Unasked)
        } else {
            given
        }
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
        let call = Call {
            open: true,
            is_command: input.get("command").is_some_and(Value::is_string),
            leave: Leave::Unasked,
        };
        self.calls.insert(id.to_owned(), call);
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
        let call = self.calls.get_mut(&*result.id)?;
        if !std::mem::replace(&mut call.open, false) {
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
            .filter(|(_, call)| call.open);
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
    breakglass_model::bounded(&breakglass_model::visible(text), MAX_KEPT)
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
    let mut short: String = breakglass_model::visible(line.trim())
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
