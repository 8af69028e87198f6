//! How a turn ends: exactly once, and never without a word why.

use std::time::Duration;

use breakglass_model::{Actor, EventBody, Level, TurnOutcome};

use super::{Effect, Failure, Phase, Turn, Why, notice, tools, words};
use crate::refusal::Refusal;
use crate::wire::Ending;

impl Turn {
    pub(super) fn begin_end(&mut self, why: Why) -> Vec<Effect> {
        if self.phase != Phase::Running {
            return Vec::new();
        }
        self.phase = Phase::Ending(why);
        vec![Effect::Interrupt]
    }

    pub(super) fn ended(&mut self, ending: &Ending<'_>, elapsed: Duration) -> Vec<Effect> {
        let failure = self.failure.take();
        let failed = ending.failed() || failure.is_some();
        if !ending.is_of_prompt() {
            let why = words::failed(
                &self.called,
                ending,
                failure.map(|failure| failure.told()).as_deref(),
            );
            let text = words::own_turn_failed(&why);
            let told = failed.then(|| notice(Level::Warning, "agent_own_turn_failed", text));
            return told.into_iter().collect();
        }
        let cost = ending
            .total_cost_usd
            .map(|total| (total - self.cost_before).max(0.0));
        let mut effects = Vec::new();
        let (outcome, reason) = if failed {
            let reason = self.why_failed(ending, failure.as_ref(), &mut effects);
            (TurnOutcome::Failed, Some(reason))
        } else {
            (TurnOutcome::Done, self.last_words(ending, &mut effects))
        };
        effects.extend(self.end(outcome, reason, cost, elapsed));
        effects
    }

    fn why_failed(
        &mut self,
        ending: &Ending<'_>,
        failure: Option<&Failure>,
        effects: &mut Vec<Effect>,
    ) -> String {
        let kind = failure.and_then(|failure| failure.kind.as_deref());
        let said = failure.map(Failure::told);
        let words = ending.result.as_deref().filter(|text| !text.is_empty());
        let words = words.or(said.as_deref());
        match Refusal::of(ending.api_error_status, kind, words) {
            Some(refusal) => {
                effects.extend(self.refused(refusal));
                refusal.sentence(&self.sign_in)
            }
            None => words::failed(&self.called, ending, said.as_deref()),
        }
    }

    /// A turn that went well ends with a word of the agent: that of the result where no other came,
    /// and where there is none, that is said.
    fn last_words(&mut self, ending: &Ending<'_>, effects: &mut Vec<Effect>) -> Option<String> {
        let result = ending.result.as_deref().unwrap_or_default();
        if self.answered {
            return None;
        }
        if result.trim().is_empty() {
            return Some(words::NO_ANSWER.to_owned());
        }
        if tools::kept(result).0 != self.last_text {
            effects.push(self.text(result));
        }
        None
    }

    pub(super) fn gone(&mut self, reason: String, elapsed: Duration) -> Vec<Effect> {
        self.end(TurnOutcome::Interrupted, Some(reason), None, elapsed)
    }

    /// The one way out: closes open tools, then the turn. Who began to end it has the last word
    /// on how it ended.
    fn end(
        &mut self,
        outcome: TurnOutcome,
        reason: Option<String>,
        cost_usd: Option<f64>,
        elapsed: Duration,
    ) -> Vec<Effect> {
        let (actor, outcome, reason) = match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Ending(Why::Stopped(actor)) => {
                (actor, TurnOutcome::Stopped, Some(words::stopped(outcome)))
            }
            Phase::Ending(Why::TimedOut(limit)) => (
                Actor::System,
                TurnOutcome::TimedOut,
                Some(words::timed_out(limit)),
            ),
            _ => (author(outcome), outcome, reason),
        };
        self.phase = Phase::Ended(outcome);
        let mut effects = self.tools.close(self.number, words::cut_off(outcome));
        effects.push(Effect::Record(
            actor,
            EventBody::TurnEnded {
                turn: self.number,
                outcome,
                reason,
                duration_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                cost_usd,
            },
        ));
        effects
    }
}

fn author(outcome: TurnOutcome) -> Actor {
    match outcome {
        TurnOutcome::Done | TurnOutcome::Failed => Actor::Agent,
        _ => Actor::System,
    }
}
