//! How a turn ends: exactly once, and always with a reason unless it went well.

use std::time::Duration;

use breakglass_model::{Actor, EventBody, Level, TurnOutcome};

use super::effect::Effect;
use super::state::{Failure, Phase, Turn, Why, notice};
use super::{messages, tools};
use crate::refusal::Refusal;
use crate::wire::TurnResult;

impl Turn {
    pub(super) fn begin_end(&mut self, why: Why) -> Vec<Effect> {
        if self.phase != Phase::Running {
            return Vec::new();
        }
        self.phase = Phase::Ending(why);
        vec![Effect::Interrupt]
    }

    pub(super) fn ended(&mut self, result: &TurnResult<'_>, elapsed: Duration) -> Vec<Effect> {
        let failure = self.failure.take();
        let is_failed = result.failed() || failure.is_some();
        if !result.is_of_prompt() {
            let failure = failure.as_ref().map(Failure::description);
            return self.own_turn_ended(result, is_failed, failure.as_deref());
        }
        let cost = result
            .total_cost_usd
            .map(|total| (total - self.cost_before).max(0.0));
        let mut effects = Vec::new();
        let (outcome, reason) = if is_failed {
            let reason = self.failure_reason(result, failure.as_ref(), &mut effects);
            (TurnOutcome::Failed, Some(reason))
        } else {
            (TurnOutcome::Done, self.last_answer(result, &mut effects))
        };
        effects.extend(self.end(outcome, reason, cost, elapsed));
        effects
    }

    /// The end of a turn that the CLI began by itself: recorded only if it failed.
    fn own_turn_ended(
        &self,
        result: &TurnResult<'_>,
        is_failed: bool,
        failure: Option<&str>,
    ) -> Vec<Effect> {
        if !is_failed {
            return Vec::new();
        }
        let reason = messages::failed(&self.agent, result, failure);
        let message = messages::own_turn_failed(&reason);
        vec![notice(Level::Warning, "agent_own_turn_failed", message)]
    }

    fn failure_reason(
        &mut self,
        result: &TurnResult<'_>,
        failure: Option<&Failure>,
        effects: &mut Vec<Effect>,
    ) -> String {
        let kind = failure.and_then(|failure| failure.kind.as_deref());
        let description = failure.map(Failure::description);
        let text = result.result.as_deref().filter(|text| !text.is_empty());
        let text = text.or(description.as_deref());
        match Refusal::of(result.api_error_status, kind, text) {
            Some(refusal) => {
                effects.extend(self.refused(refusal));
                refusal.sentence(&self.login_remedy)
            }
            None => messages::failed(&self.agent, result, description.as_deref()),
        }
    }

    /// A successful turn ends with a text of the agent: the result's, if there was no other. If there is none at
    /// all, the returned reason says so.
    fn last_answer(
        &mut self,
        result: &TurnResult<'_>,
        effects: &mut Vec<Effect>,
    ) -> Option<String> {
        let text = result.result.as_deref().unwrap_or_default();
        if self.is_answered {
            return None;
        }
        if text.trim().is_empty() {
            return Some(messages::NO_ANSWER.to_owned());
        }
        if tools::bounded_text(text).0 != self.last_text {
            effects.push(self.text(text));
        }
        None
    }

    pub(super) fn gone(&mut self, reason: String, elapsed: Duration) -> Vec<Effect> {
        self.end(TurnOutcome::Interrupted, Some(reason), None, elapsed)
    }

    /// Closes the open tool calls, then the turn. If the operator or the time limit ended the turn, that
    /// determines the outcome.
    fn end(
        &mut self,
        outcome: TurnOutcome,
        reason: Option<String>,
        cost_usd: Option<f64>,
        elapsed: Duration,
    ) -> Vec<Effect> {
        let (actor, outcome, reason) = match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Ending(Why::Stopped(actor)) => (
                actor,
                TurnOutcome::Stopped,
                Some(messages::stopped(outcome).to_owned()),
            ),
            Phase::Ending(Why::TimedOut(limit)) => (
                Actor::System,
                TurnOutcome::TimedOut,
                Some(messages::timed_out(limit)),
            ),
            _ => (actor_of(outcome), outcome, reason),
        };
        self.phase = Phase::Ended(outcome);
        let mut effects = self.calls.close(self.number, messages::cut_off(outcome));
        let body = EventBody::TurnEnded {
            turn: self.number,
            outcome,
            reason,
            duration_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            cost_usd,
        };
        effects.push(Effect::Record(actor, body));
        effects
    }
}

fn actor_of(outcome: TurnOutcome) -> Actor {
    match outcome {
        TurnOutcome::Done | TurnOutcome::Failed => Actor::Agent,
        _ => Actor::System,
    }
}
