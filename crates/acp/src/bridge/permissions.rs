//! The agent's questions: whether a tool may run.

use serde_json::{Value, json};

use super::question::Question;
use super::{Bridge, Effect};
use crate::calls::call_of;
use crate::tool_call::ToolCallUpdate;
use crate::{rpc, wire};

/// Maximum number of open questions; more are denied.
const OPEN_QUESTIONS_MAX: usize = 64;

impl Bridge {
    /// The question itself contains the call that permission is asked for, whatever was announced before.
    pub(super) fn question(&mut self, id: Value, params: &Value) -> Vec<Effect> {
        let Some(update) = ToolCallUpdate::of(&params["toolCall"]) else {
            return vec![Effect::Send(rpc::refuse(&id))];
        };
        let mut effects = Vec::new();
        if let Some(turn) = &mut self.turn
            && let Some(call) = turn.calls.update(&update, true)
        {
            effects = self.announce(update.id, &call);
        }
        let option = |kind: &str| {
            let mut options = params["options"].as_array().into_iter().flatten();
            let found = options.find(|option| option["kind"] == kind)?;
            Some(found["optionId"].clone())
        };
        let question = Question {
            id,
            call: update.id.to_owned(),
            allow: option("allow_once"),
            reject: option("reject_once"),
        };
        if self.questions.len() >= OPEN_QUESTIONS_MAX || self.is_ending() {
            effects.push(Effect::Send(answer(&question.id, question.reject.as_ref())));
            return effects;
        }
        self.last_question += 1;
        let name = format!("acp-{}", self.last_question);
        let (tool, input) = call_of(&update).to_cli_tool();
        let line = wire::permission_request(&name, update.id, tool, &input);
        effects.push(Effect::Print(line));
        self.questions.insert(name, question);
        effects
    }

    pub(super) fn permission(&mut self, name: &str, permission: Result<(), String>) -> Vec<Effect> {
        let Some(question) = self.questions.remove(name) else {
            return Vec::new();
        };
        let reason = match (permission, &question.allow) {
            (Ok(()), Some(allow)) => {
                return vec![Effect::Send(answer(&question.id, Some(allow)))];
            }
            (Ok(()), None) => "The agent has no option to allow this once.".to_owned(),
            (Err(reason), _) => reason,
        };
        let mut effects = vec![Effect::Send(answer(&question.id, question.reject.as_ref()))];
        if let Some(turn) = &mut self.turn {
            turn.add_denial(&reason);
            if turn.calls.end(&question.call) {
                let line = wire::tool_result(&question.call, &reason, true);
                effects.push(Effect::Print(line));
            }
        }
        effects
    }

    pub(super) fn void_questions(&mut self) -> Vec<Effect> {
        let questions = std::mem::take(&mut self.questions).into_iter();
        let effects = questions.flat_map(|(name, question)| {
            let send = Effect::Send(answer(&question.id, None));
            [Effect::Print(wire::cancel_request(&name)), send]
        });
        effects.collect()
    }

    fn is_ending(&self) -> bool {
        let turn = self.turn.as_ref();
        turn.is_some_and(|turn| turn.is_stopped || turn.given_up.is_some())
    }
}

/// The answer to a question; without an option, that it was cancelled.
fn answer(id: &Value, option: Option<&Value>) -> Value {
    let outcome = match option {
        Some(option) => json!({"outcome": "selected", "optionId": option}),
        None => json!({"outcome": "cancelled"}),
    };
    rpc::response(id, &json!({"outcome": outcome}))
}
