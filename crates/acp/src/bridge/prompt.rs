//! Prompts: from the server to the agent.

use serde_json::json;

use super::{Bridge, Effect, Purpose};
use crate::turn::Turn;
use crate::wire;

impl Bridge {
    /// Ignores a prompt during a turn; the server sends none.
    pub(super) fn prompt(&mut self, text: String) -> Vec<Effect> {
        if self.turn.is_some() {
            return Vec::new();
        }
        let began = wire::turn_began(&self.plan.name, self.setup.model());
        let mut effects = vec![Effect::Print(began)];
        if self.setup.session().is_some() {
            self.turn = Some(Turn::default());
            effects.extend(self.send_prompt(text));
            return effects;
        }
        self.turn = Some(Turn::waiting(text));
        // The operator may have logged in meanwhile.
        if let Some(step) = self.setup.retry() {
            effects.extend(self.setup_step(step));
        }
        effects
    }

    pub(super) fn send_prompt(&mut self, text: String) -> Vec<Effect> {
        let Some(session) = self.setup.session().map(str::to_owned) else {
            return Vec::new();
        };
        let mut effects = Vec::new();
        let had_instructions = std::mem::replace(&mut self.has_instructions, true);
        if !had_instructions {
            effects.push(Effect::StoreSession(session.clone()));
        }
        let text = self.with_instructions(text, had_instructions);
        let params = json!({"sessionId": session, "prompt": [{"type": "text", "text": text}]});
        effects.push(self.request(Purpose::Prompt, "session/prompt", &params));
        if let Some(turn) = &mut self.turn {
            turn.request = Some(self.last_request);
        }
        effects
    }

    fn with_instructions(&self, text: String, had_instructions: bool) -> String {
        let instructions = &self.plan.instructions;
        if had_instructions || instructions.is_empty() {
            return text;
        }
        format!("{instructions}\n\n# The operator's prompt\n\n{text}")
    }
}
