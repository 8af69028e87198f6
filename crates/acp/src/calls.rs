//! The calls of tools of one turn: each is announced once, when it is known what it is, and ends once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::told::{Told, tool};

/// Calls of one turn past which a further one is not followed.
const MAX_CALLS: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Calls(BTreeMap<String, Call>);

/// A call, as far as it is known.
#[derive(Debug, Default, Clone)]
pub(crate) struct Call {
    kind: String,
    title: String,
    input: Map<String, Value>,
    announced: bool,
    over: bool,
}

impl Call {
    /// Its tool and input in the claude CLI's words.
    pub(crate) fn tool(&self) -> (&'static str, Value) {
        tool(&self.kind, &self.title, &self.input)
    }

    fn learn(&mut self, told: &Told<'_>) {
        if let Some(kind) = told.kind {
            kind.clone_into(&mut self.kind);
        }
        if let Some(title) = told.title {
            title.clone_into(&mut self.title);
        }
        if let Some(input) = told.input {
            self.input.clone_from(input);
        }
    }

    /// Before a command is known there is nothing to announce.
    fn is_known(&self, told: &Told<'_>) -> bool {
        let named = ["command", "cmd"]
            .iter()
            .any(|name| self.input.contains_key(*name));
        named || !matches!(told.status, None | Some("pending"))
    }
}

impl Calls {
    /// Takes note of what was told of a call; gives it if it is to be announced now. `asked`: it waits
    /// for leave, so it is known as well as it will be.
    pub(crate) fn learn(&mut self, told: &Told<'_>, asked: bool) -> Option<Call> {
        if self.0.len() >= MAX_CALLS && !self.0.contains_key(told.id) {
            return None;
        }
        let call = self.0.entry(told.id.to_owned()).or_default();
        if call.over || call.announced {
            return None;
        }
        call.learn(told);
        call.announced = asked || call.is_known(told);
        call.announced.then(|| call.clone())
    }

    /// Whether this call ends by now; false if it has before.
    pub(crate) fn end(&mut self, id: &str) -> bool {
        let call = self.0.get_mut(id);
        call.is_some_and(|call| !std::mem::replace(&mut call.over, true))
    }
}

/// A call that is asked about where no turn runs, or one too many.
pub(crate) fn lone(told: &Told<'_>) -> Call {
    let mut call = Call::default();
    call.learn(told);
    call
}
