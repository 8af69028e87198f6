//! The tool calls of a turn: each is recorded once when it starts and once when it finishes.

use std::collections::BTreeMap;

use breakglass_model::{Actor, EventBody, TurnNumber};
use serde_json::Value;

use super::effect::Effect;
use super::messages;
use crate::wire::ToolResult;

/// Maximum size of a recorded output or text.
const TEXT_MAX_BYTES: usize = 64 * 1024;
const SUMMARY_MAX_CHARS: usize = 300;
/// Maximum number of calls that are recorded in one turn; usual are a few dozen.
const CALLS_MAX: usize = 10_000;

/// Whether the agent may use this tool.
pub(super) fn is_allowed(tool: &str) -> bool {
    matches!(tool, "Bash" | "Read" | "Grep" | "Glob")
}

/// The calls of a turn, by id.
#[derive(Debug, Default)]
pub(super) struct ToolCalls {
    calls: BTreeMap<String, Call>,
}

#[derive(Debug)]
struct Call {
    is_open: bool,
    is_command: bool,
    permission: Permission,
}

/// Whether the CLI asked for permission to run a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permission {
    /// Not yet, or never: it runs some commands without asking.
    NotRequested,
    /// It waits for the decision.
    Requested,
    /// The call was allowed and runs.
    Granted,
}

impl ToolCalls {
    pub(super) fn is_any_open(&self) -> bool {
        self.calls.values().any(|call| call.is_open)
    }

    /// The CLI asks for permission to run this call.
    pub(super) fn permission_requested(&mut self, id: &str) {
        self.set_permission(id, Permission::Requested);
    }

    /// The call was allowed.
    pub(super) fn permission_granted(&mut self, id: &str) {
        self.set_permission(id, Permission::Granted);
    }

    fn set_permission(&mut self, id: &str, permission: Permission) {
        if let Some(call) = self.calls.get_mut(id) {
            call.permission = permission;
        }
    }

    /// The calls that run a command now: those that were allowed, or if there are none, those that may run without
    /// asking.
    pub(super) fn running(&self) -> Vec<&str> {
        let granted = self.commands_with(Permission::Granted);
        if granted.is_empty() {
            self.commands_with(Permission::NotRequested)
        } else {
            granted
        }
    }

    fn commands_with(&self, permission: Permission) -> Vec<&str> {
        let calls = self
            .calls
            .iter()
            .filter(|(_, call)| call.is_open && call.is_command && call.permission == permission);
        calls.map(|(id, _)| id.as_str()).collect()
    }

    /// Whether this call is in the log.
    pub(super) fn is_recorded(&self, id: &str) -> bool {
        self.calls.contains_key(id)
    }

    /// Records a call once: the CLI may announce it, and then ask for permission.
    pub(super) fn start(
        &mut self,
        turn: TurnNumber,
        id: &str,
        tool: &str,
        input: Value,
    ) -> Option<Effect> {
        if self.calls.contains_key(id) || self.calls.len() >= CALLS_MAX {
            return None;
        }
        let call = Call {
            is_open: true,
            is_command: input.get("command").is_some_and(Value::is_string),
            permission: Permission::NotRequested,
        };
        self.calls.insert(id.to_owned(), call);
        let summary = summary(&input);
        Some(Effect::Record(
            Actor::Agent,
            EventBody::ToolStarted {
                turn,
                tool_call: id.to_owned(),
                tool: messages::bounded_line(tool),
                summary,
                input: bounded_input(input),
            },
        ))
    }

    /// Records the end of a call, if it is open.
    pub(super) fn finish(&mut self, turn: TurnNumber, result: &ToolResult<'_>) -> Option<Effect> {
        let call = self.calls.get_mut(&*result.id)?;
        if !std::mem::replace(&mut call.is_open, false) {
            return None;
        }
        let (output, omitted) = bounded_text(&result.output);
        let omitted_bytes = omitted + result.omitted;
        Some(finished(
            turn,
            result.id.to_string(),
            result.is_error,
            output,
            omitted_bytes,
        ))
    }

    /// Records the end of every open call.
    pub(super) fn close(&mut self, turn: TurnNumber, reason: &str) -> Vec<Effect> {
        let open = std::mem::take(&mut self.calls)
            .into_iter()
            .filter(|(_, call)| call.is_open);
        open.map(|(id, _)| finished(turn, id, true, reason.to_owned(), 0))
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

/// `text` for the log: with visible control sequences, and only head and tail if it is long. Also returns the
/// number of omitted bytes.
pub(super) fn bounded_text(text: &str) -> (String, u64) {
    breakglass_model::bounded(&breakglass_model::visible(text), TEXT_MAX_BYTES)
}

/// One line for people: the command, the file or the pattern.
fn summary(input: &Value) -> String {
    let main = ["command", "file_path", "pattern"]
        .iter()
        .find_map(|key| input.get(key)?.as_str());
    let text = main.map_or_else(|| input.to_string(), str::to_owned);
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let mut short: String = breakglass_model::visible(line.trim())
        .chars()
        .take(SUMMARY_MAX_CHARS)
        .collect();
    if short.chars().count() >= SUMMARY_MAX_CHARS || text.trim().lines().count() > 1 {
        short.push('…');
    }
    short
}

/// Keeps only head and tail of a very long input, as text.
fn bounded_input(input: Value) -> Value {
    let text = input.to_string();
    if text.len() <= TEXT_MAX_BYTES {
        input
    } else {
        Value::String(bounded_text(&text).0)
    }
}
