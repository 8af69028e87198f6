//! How a turn ends, and what the server gets as its result.

use serde_json::Value;

use super::updates::retry_reason;
use super::{Bridge, Effect};
use crate::model_failure::{FailureKind, ModelFailure};
use crate::rpc::RpcError;
use crate::turn::Turn;
use crate::wire::{self, TurnResult};

impl Bridge {
    /// The agent's turn is over, which may end the server's.
    pub(super) fn prompt_response(
        &mut self,
        id: u64,
        response: Result<Value, RpcError>,
    ) -> Vec<Effect> {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.request == Some(id)) else {
            return Vec::new();
        };
        if turn.is_stopped {
            return self.stopped();
        }
        if let Some(text) = turn.given_up.take() {
            return self.unreachable(&text);
        }
        match response {
            Ok(result) => self.completed(result["stopReason"].as_str().unwrap_or("")),
            Err(error) => {
                let failure = ModelFailure::of_error(&error);
                match failure.kind {
                    FailureKind::Unreachable => self.unreachable(&error.text),
                    kind => self.failed(kind, failure.status, &error.text),
                }
            }
        }
    }

    fn completed(&mut self, stop_reason: &str) -> Vec<Effect> {
        let mut effects = self.flush();
        let continuation = match stop_reason {
            "end_turn" | "cancelled" => self.turn.as_mut().and_then(Turn::continuation),
            _ => None,
        };
        if let Some(text) = continuation {
            effects.extend(self.void_questions());
            effects.extend(self.send_prompt(text));
            return effects;
        }
        let (subtype, error) = match stop_reason {
            "end_turn" => ("success", None),
            "max_tokens" => (
                "error_max_tokens",
                Some("The model's answer reached its maximum length."),
            ),
            "max_turn_requests" => (
                "error_max_turns",
                Some("It reached the maximum number of requests in one turn."),
            ),
            "refusal" => ("error_refusal", Some("The model refuses to continue.")),
            "cancelled" => (
                "error_during_execution",
                Some("The agent cancelled its turn."),
            ),
            _ => ("error_during_execution", Some("It gives no reason.")),
        };
        let result = match (&self.turn, error) {
            (Some(turn), None) => turn.last_text().to_owned(),
            _ => String::new(),
        };
        effects.extend(self.end(&TurnResult {
            subtype,
            is_error: error.is_some(),
            result: &result,
            error,
            ..TurnResult::default()
        }));
        effects
    }

    pub(super) fn stopped(&mut self) -> Vec<Effect> {
        let mut effects = self.flush();
        effects.extend(self.end(&TurnResult {
            subtype: "error_during_execution",
            is_error: true,
            ..TurnResult::default()
        }));
        effects
    }

    /// The turn failed because the model was not reached.
    fn unreachable(&mut self, text: &str) -> Vec<Effect> {
        let failure = ModelFailure::of(text);
        let turn = self.turn.as_ref();
        let is_reported = turn.is_some_and(|turn| turn.is_failure_reported);
        let mut effects = Vec::new();
        if !is_reported {
            let reason = retry_reason(failure, text);
            effects.push(Effect::Print(wire::retry(1, 1, failure.status, &reason)));
        }
        let kind = match failure.kind {
            FailureKind::Other => FailureKind::Unreachable,
            kind => kind,
        };
        effects.extend(self.failed(kind, failure.status, text));
        effects
    }

    pub(super) fn failed(
        &mut self,
        kind: FailureKind,
        status: Option<u16>,
        text: &str,
    ) -> Vec<Effect> {
        let mut effects = self.flush();
        let result = match kind {
            FailureKind::Unreachable => format!("The model did not answer: {text}"),
            FailureKind::Login | FailureKind::Credit => text.to_owned(),
            FailureKind::Other => format!("The agent failed: {text}"),
        };
        if kind != FailureKind::Other {
            effects.push(Effect::Print(wire::failure_text(kind.cli_word(), &result)));
        }
        effects.extend(self.end(&TurnResult {
            subtype: "success",
            is_error: true,
            result: &result,
            status: status.or((kind == FailureKind::Login).then_some(401)),
            ..TurnResult::default()
        }));
        effects
    }

    fn end(&mut self, result: &TurnResult<'_>) -> Vec<Effect> {
        let mut effects = self.void_questions();
        self.turn = None;
        let result = TurnResult {
            cost: self.cost,
            ..*result
        };
        effects.push(Effect::Print(wire::turn_result(&self.plan.name, &result)));
        effects
    }
}
