//! How a turn ends, and what the server hears of it.

use serde_json::Value;

use super::{Bridge, Effect, why};
use crate::fault::{Kind, Meaning};
use crate::rpc::Fault;
use crate::turn::Turn;
use crate::wire::{self, Ending};

impl Bridge {
    /// The agent's turn is over.
    pub(super) fn prompted(&mut self, id: u64, answer: Result<Value, Fault>) -> Vec<Effect> {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.request == Some(id)) else {
            return Vec::new();
        };
        if turn.stopped {
            return self.stopped();
        }
        if let Some(words) = turn.given_up.take() {
            return self.unreachable(&words);
        }
        match answer {
            Ok(result) => self.came_to_an_end(result["stopReason"].as_str().unwrap_or("")),
            Err(fault) => {
                let meaning = Meaning::of_fault(&fault);
                match meaning.kind {
                    Kind::Unreachable => self.unreachable(&fault.words),
                    kind => self.failed(kind, meaning.status, &fault.words),
                }
            }
        }
    }

    pub(super) fn came_to_an_end(&mut self, reason: &str) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self.flush().into_iter().collect();
        let anew = match reason {
            "end_turn" | "cancelled" => self.turn.as_mut().and_then(Turn::anew),
            _ => None,
        };
        if let Some(text) = anew {
            effects.extend(self.void_questions());
            effects.extend(self.send_prompt(text));
            return effects;
        }
        let (subtype, error) = match reason {
            "end_turn" => ("success", None),
            "max_tokens" => (
                "error_max_tokens",
                Some("The model's answer reached its longest length."),
            ),
            "max_turn_requests" => (
                "error_max_turns",
                Some("It asked the model as often as it may in one turn."),
            ),
            "refusal" => (
                "error_refusal",
                Some("The model refuses to go on with this."),
            ),
            "cancelled" => (
                "error_during_execution",
                Some("The agent broke its turn off."),
            ),
            _ => ("error_during_execution", Some("It does not say why.")),
        };
        let result = match (&self.turn, error) {
            (Some(turn), None) => turn.last_words().to_owned(),
            _ => String::new(),
        };
        let ending = Ending {
            subtype,
            is_error: error.is_some(),
            result: &result,
            error,
            ..Ending::default()
        };
        effects.extend(self.end(&ending));
        effects
    }

    pub(super) fn stopped(&mut self) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self.flush().into_iter().collect();
        let subtype = "error_during_execution";
        effects.extend(self.end(&Ending {
            subtype,
            is_error: true,
            ..Ending::default()
        }));
        effects
    }

    /// The turn failed because the model was not reached.
    pub(super) fn unreachable(&mut self, words: &str) -> Vec<Effect> {
        let meaning = Meaning::of(words);
        let told = self.turn.as_ref().is_some_and(|turn| turn.told_tries);
        let mut effects = Vec::new();
        if !told {
            let line = wire::retries(1, 1, meaning.status, &why(meaning, words));
            effects.push(Effect::Say(line));
        }
        let kind = match meaning.kind {
            Kind::Other => Kind::Unreachable,
            kind => kind,
        };
        effects.extend(self.failed(kind, meaning.status, words));
        effects
    }

    pub(super) fn failed(&mut self, kind: Kind, status: Option<u16>, words: &str) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self.flush().into_iter().collect();
        let result = match kind {
            Kind::Unreachable => format!("The model did not answer: {words}"),
            Kind::Login | Kind::Credit => words.to_owned(),
            Kind::Other => format!("The agent failed: {words}"),
        };
        let told = match kind {
            Kind::Other => String::new(),
            kind => wire::said_of_failure(kind.word(), &result),
        };
        if !told.is_empty() {
            effects.push(Effect::Say(told));
        }
        let status = status.or((kind == Kind::Login).then_some(401));
        let subtype = "success";
        effects.extend(self.end(&Ending {
            subtype,
            is_error: true,
            result: &result,
            status,
            ..Ending::default()
        }));
        effects
    }

    pub(super) fn end(&mut self, ending: &Ending<'_>) -> Vec<Effect> {
        let mut effects = self.void_questions();
        self.turn = None;
        let cost = self.cost;
        let ending = Ending { cost, ..*ending };
        effects.push(Effect::Say(wire::ended(&self.plan.name, &ending)));
        effects
    }
}
