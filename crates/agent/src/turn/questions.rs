//! The tool uses of a turn that wait for a decision.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Maximum number of open questions of one turn; more are denied.
const OPEN_QUESTIONS_MAX: usize = 64;

/// By request id, the call and its input, which the response has to repeat.
#[derive(Debug, Default)]
pub(super) struct Questions(BTreeMap<String, (String, Box<RawValue>)>);

impl Questions {
    /// Adds a question; false if there are too many.
    pub(super) fn add(&mut self, request: &str, call: &str, input: &RawValue) -> bool {
        let has_room = self.0.len() < OPEN_QUESTIONS_MAX;
        if has_room {
            let question = (call.to_owned(), input.to_owned());
            self.0.insert(request.to_owned(), question);
        }
        has_room
    }

    /// Removes a question and returns it, if it is open.
    pub(super) fn remove(&mut self, request: &str) -> Option<(String, Box<RawValue>)> {
        self.0.remove(request)
    }
}
