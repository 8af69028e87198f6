//! Questions of the agent's: may a tool run?

use serde_json::{Value, json};

use super::{Bridge, Effect};
use crate::calls::lone;
use crate::told::Told;
use crate::{rpc, wire};

/// Questions that may be open at once; a further one is denied.
const MAX_OPEN: usize = 64;

/// A question of the agent's that the server has not answered yet.
#[derive(Debug)]
pub(super) struct Question {
    id: Value,
    call: String,
    allow: Option<Value>,
    reject: Option<Value>,
}

impl Bridge {
    /// May a tool run? A call that is told anew here is what is asked about.
    pub(super) fn question(&mut self, id: Value, params: &Value) -> Vec<Effect> {
        let Some(told) = Told::of(&params["toolCall"]) else {
            return vec![Effect::Send(rpc::refuse(&id))];
        };
        let asked = lone(&told);
        let mut effects = Vec::new();
        if let Some(turn) = &mut self.turn
            && let Some(call) = turn.calls.learn(&told, true)
        {
            effects = self.announce(told.id, &call);
        }
        let option = |kind: &str| {
            let mut options = params["options"].as_array().into_iter().flatten();
            let found = options.find(|option| option["kind"] == kind)?;
            Some(found["optionId"].clone())
        };
        let question = Question {
            id,
            call: told.id.to_owned(),
            allow: option("allow_once"),
            reject: option("reject_once"),
        };
        if self.questions.len() >= MAX_OPEN || self.is_ending() {
            effects.push(Effect::Send(answer(&question.id, question.reject.as_ref())));
            return effects;
        }
        self.asked += 1;
        let name = format!("acp-{}", self.asked);
        let (tool, input) = asked.tool();
        effects.push(Effect::Say(wire::ask(&name, told.id, tool, &input)));
        self.questions.insert(name, question);
        effects
    }

    pub(super) fn ruled(&mut self, name: &str, leave: Result<(), String>) -> Vec<Effect> {
        let Some(question) = self.questions.remove(name) else {
            return Vec::new();
        };
        let why = match (leave, &question.allow) {
            (Ok(()), Some(allow)) => {
                return vec![Effect::Send(answer(&question.id, Some(allow)))];
            }
            (Ok(()), None) => "The agent offers no way to allow this once.".to_owned(),
            (Err(why), _) => why,
        };
        let mut effects = vec![Effect::Send(answer(&question.id, question.reject.as_ref()))];
        if let Some(turn) = &mut self.turn {
            turn.denied(&why);
            if turn.calls.end(&question.call) {
                effects.push(Effect::Say(wire::returned(&question.call, &why, true)));
            }
        }
        effects
    }

    pub(super) fn void_questions(&mut self) -> Vec<Effect> {
        let void = std::mem::take(&mut self.questions).into_iter();
        let effects = void.flat_map(|(name, question)| {
            let send = Effect::Send(answer(&question.id, None));
            [Effect::Say(wire::withdraw(&name)), send]
        });
        effects.collect()
    }
}

/// The answer to a question; without an option, that nobody decided.
fn answer(id: &Value, option: Option<&Value>) -> Value {
    let outcome = match option {
        Some(option) => json!({"outcome": "selected", "optionId": option}),
        None => json!({"outcome": "cancelled"}),
    };
    rpc::answer(id, &json!({"outcome": outcome}))
}
