use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Questions of one turn that may be open at once; a further one is denied.
const MAX_OPEN: usize = 64;

/// The CLI's open questions: each with its call, and its input, which the answer has to repeat.
#[derive(Debug, Default)]
pub(super) struct Questions(BTreeMap<String, (String, Box<RawValue>)>);

impl Questions {
    /// Notes a question; false if there is no room for it.
    pub(super) fn ask(&mut self, request: &str, call: &str, input: &RawValue) -> bool {
        let room = self.0.len() < MAX_OPEN;
        if room {
            let asked = (call.to_owned(), input.to_owned());
            self.0.insert(request.to_owned(), asked);
        }
        room
    }

    /// Takes out a question, if it is open.
    pub(super) fn settle(&mut self, request: &str) -> Option<(String, Box<RawValue>)> {
        self.0.remove(request)
    }
}
