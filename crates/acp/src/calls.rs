//! The tool calls of one turn: each is announced once, when its command is known, and ends once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::tool_call::{ToolCallUpdate, to_cli_tool};

/// Maximum number of calls that are tracked in one turn.
const CALLS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Calls(BTreeMap<String, Call>);

/// What is known about a call.
#[derive(Debug, Default, Clone)]
pub(crate) struct Call {
    kind: String,
    title: String,
    input: Map<String, Value>,
    is_announced: bool,
    is_over: bool,
}

impl Call {
    /// Its tool and input in the claude CLI's form.
    pub(crate) fn to_cli_tool(&self) -> (&'static str, Value) {
        to_cli_tool(&self.kind, &self.title, &self.input)
    }

    fn update(&mut self, update: &ToolCallUpdate<'_>) {
        if let Some(kind) = update.kind {
            kind.clone_into(&mut self.kind);
        }
        if let Some(title) = update.title {
            title.clone_into(&mut self.title);
        }
        if let Some(input) = update.input {
            self.input.clone_from(input);
        }
    }

    /// Whether the call can be announced: its command is known, or it has none.
    fn is_known(&self, update: &ToolCallUpdate<'_>) -> bool {
        let has_command = ["command", "cmd"]
            .iter()
            .any(|name| self.input.contains_key(*name));
        has_command || !matches!(update.status, None | Some("pending"))
    }
}

impl Calls {
    /// Updates a call, and returns it if it has to be announced now. A call that is waiting for permission
    /// (`needs_permission`) is announced in any case.
    pub(crate) fn update(
        &mut self,
        update: &ToolCallUpdate<'_>,
        needs_permission: bool,
    ) -> Option<Call> {
        if self.0.len() >= CALLS_MAX && !self.0.contains_key(update.id) {
            return None;
        }
        let call = self.0.entry(update.id.to_owned()).or_default();
        if call.is_over || call.is_announced {
            return None;
        }
        call.update(update);
        call.is_announced = needs_permission || call.is_known(update);
        call.is_announced.then(|| call.clone())
    }

    /// Marks a call as over; false if it was already.
    pub(crate) fn end(&mut self, id: &str) -> bool {
        let call = self.0.get_mut(id);
        call.is_some_and(|call| !std::mem::replace(&mut call.is_over, true))
    }
}

/// The call that a question is about, from the question alone.
pub(crate) fn call_of(update: &ToolCallUpdate<'_>) -> Call {
    let mut call = Call::default();
    call.update(update);
    call
}
