//! What came to an end, counted as the log says it.

use breakglass_log::CompletionSink;
use breakglass_model::{Decision, EventBody, TurnOutcome, Verdict};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use strum::VariantArray;

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counts<const N: usize> = Family<Labels<N>, Counter>;
type Seconds<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Upper bounds in seconds: from a `status` on a warm connection to a `stop` that climbs its whole
/// ladder.
const VERB_SECONDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0];
/// Upper bounds in seconds: from a short answer to the usual limit of a turn and beyond.
const TURN_SECONDS: [f64; 9] = [5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1200.0, 1800.0, 7200.0];

/// The counters. Cheap to clone; every clone is the same.
#[derive(Debug, Clone)]
pub struct Ends {
    verbs: Counts<3>,
    verb_seconds: Seconds<1>,
    checks: Counts<2>,
    turns: Counts<1>,
    turn_seconds: Seconds<1>,
    approvals: Counts<1>,
}

impl Default for Ends {
    fn default() -> Ends {
        let ends = Ends {
            verbs: Family::default(),
            verb_seconds: Family::new_with_constructor(|| Histogram::new(VERB_SECONDS)),
            checks: Family::default(),
            turns: Family::default(),
            turn_seconds: Family::new_with_constructor(|| Histogram::new(TURN_SECONDS)),
            approvals: Family::default(),
        };
        ends.begin_at_zero();
        ends
    }
}

impl Ends {
    /// A rate can't be told of a series that begins at 1.
    fn begin_at_zero(&self) {
        for outcome in TurnOutcome::VARIANTS.iter().map(<&str>::from) {
            let _began = self.turns.get_or_create(&[("outcome", outcome)]);
        }
        for decision in Decision::VARIANTS.iter().map(<&str>::from) {
            let _began = self.approvals.get_or_create(&[("decision", decision)]);
        }
    }

    /// What the log is to tell its ends to.
    pub(crate) fn sink(&self) -> CompletionSink {
        let ends = self.clone();
        Box::new(move |body| ends.count(body))
    }

    fn count(&self, body: &EventBody) {
        match body {
            EventBody::VerbFinished {
                verb,
                outcome,
                verdict,
                duration_ms,
                ..
            } => {
                let verb = ("verb", verb.as_str());
                let labels = [
                    verb,
                    ("verdict", verdict_word(verdict.as_ref())),
                    ("outcome", outcome.into()),
                ];
                self.verbs.get_or_create(&labels).inc();
                observe(&self.verb_seconds, &[verb], *duration_ms);
            }
            EventBody::CheckFinished { check, level, .. } => {
                let labels = [("check", check.as_str()), ("level", level.into())];
                self.checks.get_or_create(&labels).inc();
            }
            EventBody::TurnEnded {
                outcome,
                duration_ms,
                ..
            } => {
                let labels = [("outcome", outcome.into())];
                self.turns.get_or_create(&labels).inc();
                observe(&self.turn_seconds, &labels, *duration_ms);
            }
            EventBody::ApprovalDecided { decision, .. } => {
                let labels = [("decision", decision.into())];
                self.approvals.get_or_create(&labels).inc();
            }
            _ => {}
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "verbs",
            "Verbs that ended, by verb, verdict of the gate and outcome",
            self.verbs.clone(),
        );
        registry.register(
            "verb_seconds",
            "How long verbs ran, by verb",
            self.verb_seconds.clone(),
        );
        registry.register(
            "checks",
            "Checks of the guest that ended, by check and what they found",
            self.checks.clone(),
        );
        registry.register(
            "turns",
            "Turns of the agent that ended, by outcome",
            self.turns.clone(),
        );
        registry.register(
            "turn_seconds",
            "From prompt to end of a turn, by outcome",
            self.turn_seconds.clone(),
        );
        registry.register(
            "approvals",
            "Questions of the agent that were settled, by decision",
            self.approvals.clone(),
        );
    }
}

fn observe<const N: usize>(seconds: &Seconds<N>, labels: &Labels<N>, millis: u64) {
    let took = std::time::Duration::from_millis(millis);
    seconds.get_or_create(labels).observe(took.as_secs_f64());
}

/// The verdict without the name in it: the name of a lock would make an unbounded label.
const fn verdict_word(verdict: Option<&Verdict>) -> &'static str {
    match verdict {
        None => "none",
        Some(Verdict::Running) => "running",
        Some(Verdict::Stopped) => "stopped",
        Some(Verdict::MonitorDead) => "monitor-dead",
        Some(Verdict::Unkillable) => "unkillable",
        Some(Verdict::Locked(_)) => "locked",
        Some(Verdict::HaManaged) => "ha-managed",
        Some(Verdict::Unknown(_)) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_no_lock() {
        let locked = Verdict::Locked("backup of tuesday".to_owned());
        assert_eq!(verdict_word(Some(&locked)), "locked");
        assert_eq!(verdict_word(None), "none");
    }
}
