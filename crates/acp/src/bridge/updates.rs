//! What the agent does during a turn: its text, its tool calls, its failed attempts to reach the model.

use serde_json::Value;

use super::{Bridge, Effect};
use crate::calls::Call;
use crate::model_failure::{FailureKind, ModelFailure, failed_attempt};
use crate::rpc;
use crate::tool_call::ToolCallUpdate;
use crate::wire;

impl Bridge {
    pub(super) fn update(&mut self, params: &Value) -> Vec<Effect> {
        let is_of_session = params["sessionId"].as_str() == self.setup.session();
        let update = &params["update"];
        let kind = update["sessionUpdate"].as_str().unwrap_or_default();
        if kind == "usage_update" && is_of_session {
            let cost = &update["cost"];
            let dollars = cost["amount"]
                .as_f64()
                .filter(|_| cost["currency"] == "USD");
            self.cost = dollars.or(self.cost);
        }
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.request.is_some()) else {
            return Vec::new();
        };
        let text = update["content"]["text"].as_str();
        match (kind, text) {
            ("agent_message_chunk", Some(text)) if is_of_session => {
                let complete = turn.add_text(text, update["messageId"].as_str());
                let complete = complete.map(|text| wire::text(self.setup.model(), &text));
                let lines = complete.into_iter().chain([wire::text_delta(text)]);
                lines.map(Effect::Print).collect()
            }
            ("tool_call" | "tool_call_update", _) if is_of_session => {
                match ToolCallUpdate::of(update) {
                    Some(update) => self.call_update(&update),
                    None => Vec::new(),
                }
            }
            _ => vec![Effect::Print(wire::keep_alive())],
        }
    }

    fn call_update(&mut self, update: &ToolCallUpdate<'_>) -> Vec<Effect> {
        let Some(turn) = &mut self.turn else {
            return Vec::new();
        };
        let mut effects = match turn.calls.update(update, false) {
            Some(call) => self.announce(update.id, &call),
            None => vec![Effect::Print(wire::keep_alive())],
        };
        if let Some(turn) = self.turn.as_mut().filter(|_| update.is_over())
            && turn.calls.end(update.id)
        {
            let is_failed = update.status != Some("completed");
            let output = update.output.clone();
            let (output, is_error) = output.unwrap_or((String::new(), is_failed));
            let line = wire::tool_result(update.id, &output, is_error);
            effects.push(Effect::Print(line));
        }
        effects
    }

    pub(super) fn announce(&mut self, id: &str, call: &Call) -> Vec<Effect> {
        let (tool, input) = call.to_cli_tool();
        let mut effects = self.flush();
        if let Some(turn) = &mut self.turn {
            turn.has_reacted();
        }
        let line = wire::tool_call(self.setup.model(), id, tool, &input);
        effects.push(Effect::Print(line));
        effects
    }

    /// Prints the incomplete block of text, if there is one.
    pub(super) fn flush(&mut self) -> Vec<Effect> {
        let text = self.turn.as_mut().and_then(|turn| turn.flush());
        let line = text.map(|text| wire::text(self.setup.model(), &text));
        line.map(Effect::Print).into_iter().collect()
    }

    /// Handles a line of the agent's log. Some agents report only there that their model does not answer.
    pub fn from_log(&mut self, line: &str) -> Vec<Effect> {
        let Some((turn, failed)) = self.turn.as_mut().zip(failed_attempt(line)) else {
            return Vec::new();
        };
        turn.failed_attempts += 1;
        turn.is_failure_reported = true;
        let max_retries = self.plan.max_retries;
        let (attempt, max) = failed.count.unwrap_or((turn.failed_attempts, max_retries));
        if turn.failed_attempts <= max_retries || turn.given_up.is_some() {
            let failure = ModelFailure::of(&failed.text);
            let reason = retry_reason(failure, &failed.text);
            let line = wire::retry(attempt, max, failure.status, &reason);
            return vec![Effect::Print(line)];
        }
        turn.given_up = Some(failed.text);
        self.cancel()
    }
}

/// Why the model did not answer: the claude CLI's word for it, or the agent's text.
pub(super) fn retry_reason(failure: ModelFailure, text: &str) -> String {
    let word = match (failure.kind, failure.status) {
        (FailureKind::Login, _) => "authentication_failed",
        (FailureKind::Credit, _) => "billing_error",
        (_, Some(429)) => "rate_limit",
        (_, Some(529)) => "overloaded",
        (_, Some(_)) => "server_error",
        (FailureKind::Unreachable, None) => "unknown",
        (FailureKind::Other, None) => return format!("it says: {}", rpc::short(text)),
    };
    word.to_owned()
}
