//! The CLI asks for permission to use a tool, and gets the decision.

use serde_json::Value;

use super::effect::Effect;
use super::state::{Phase, Turn};
use super::{call, messages, tools};
use crate::wire::{self, ToolUseRequest};
use breakglass_model::gateway::ToolQuestion;

/// The response while the turn is being ended.
const TURN_IS_ENDING: &str = "This turn is being ended.";

impl Turn {
    /// Records the call before it is allowed: nothing runs unrecorded.
    pub(super) fn requested(
        &mut self,
        request: &str,
        tool_use: Option<ToolUseRequest<'_>>,
    ) -> Vec<Effect> {
        let Some(tool_use) = tool_use else {
            return vec![Effect::Send(wire::refuse(request))];
        };
        let tool = &*tool_use.tool_name;
        let id = tool_use.tool_use_id.as_deref().unwrap_or(request);
        let input: Value = serde_json::from_str(tool_use.input.get()).unwrap_or_default();
        let command = input["command"].as_str().map(str::to_owned);
        let mut effects = Vec::new();
        effects.extend(self.calls.start(self.number, id, tool, input));
        let deny = |reason: &str| Effect::Send(wire::deny(request, reason));
        effects.push(match command {
            _ if self.phase != Phase::Running => deny(TURN_IS_ENDING),
            _ if !tools::is_allowed(tool) => deny(&messages::no_such_tool(tool)),
            _ if !self.calls.is_recorded(id) => deny("It could not be recorded."),
            // A tool that runs no command only reads files of the cell.
            None => Effect::Send(wire::allow(request, tool_use.input)),
            Some(_) if !self.questions.add(request, id, tool_use.input) => {
                deny("Too many questions are open.")
            }
            Some(command) => {
                self.calls.permission_requested(id);
                Effect::Judge {
                    request: request.to_owned(),
                    question: ToolQuestion {
                        tool_call: id.to_owned(),
                        command,
                    },
                }
            }
        });
        effects
    }

    pub(super) fn ruled(&mut self, request: &str, permission: Result<(), String>) -> Vec<Effect> {
        let Some((id, input)) = self.questions.remove(request) else {
            return Vec::new();
        };
        vec![Effect::Send(match permission {
            _ if self.phase != Phase::Running => wire::deny(request, TURN_IS_ENDING),
            Ok(()) => {
                self.calls.permission_granted(&id);
                wire::allow(request, &call::with_call_id(input, &id))
            }
            Err(reason) => wire::deny(request, &reason),
        })]
    }

    pub(super) fn withdrawn(&mut self, request: &str) -> Vec<Effect> {
        let question = self.questions.remove(request);
        let effect = question.map(|_| Effect::Withdraw(request.to_owned()));
        effect.into_iter().collect()
    }
}
