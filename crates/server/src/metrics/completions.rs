//! Counters of completed verbs, checks, turns and approvals, fed by the log's events.
//!
//! Labels come from closed sets, so the number of series is bounded whatever an event contains.

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

/// Histogram buckets in seconds: from a `status` on an open connection to a `stop` with every
/// escalation step.
const VERB_BUCKETS_S: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0];
/// Histogram buckets in seconds: from a short answer to beyond the default limit of a turn.
const TURN_BUCKETS_S: [f64; 9] = [5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1200.0, 1800.0, 7200.0];

/// The counters of completed work. Clones share their values.
#[derive(Debug, Clone)]
pub struct CompletionCounters {
    verbs: Counts<3>,
    verb_seconds: Seconds<1>,
    checks: Counts<2>,
    turns: Counts<1>,
    turn_seconds: Seconds<1>,
    approvals: Counts<1>,
}

impl Default for CompletionCounters {
    fn default() -> CompletionCounters {
        let counters = CompletionCounters {
            verbs: Family::default(),
            verb_seconds: Family::new_with_constructor(|| Histogram::new(VERB_BUCKETS_S)),
            checks: Family::default(),
            turns: Family::default(),
            turn_seconds: Family::new_with_constructor(|| Histogram::new(TURN_BUCKETS_S)),
            approvals: Family::default(),
        };
        counters.create_at_zero();
        counters
    }
}

impl CompletionCounters {
    /// Creates series at 0, so that `rate()` sees the first increment.
    fn create_at_zero(&self) {
        for outcome in TurnOutcome::VARIANTS.iter().map(<&str>::from) {
            let _counter = self.turns.get_or_create(&[("outcome", outcome)]);
        }
        for decision in Decision::VARIANTS.iter().map(<&str>::from) {
            let _counter = self.approvals.get_or_create(&[("decision", decision)]);
        }
    }

    /// The function that the log calls for each completed operation, turn and approval.
    pub(crate) fn sink(&self) -> CompletionSink {
        let counters = self.clone();
        Box::new(move |body| counters.count(body))
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
                    ("verdict", verdict_label(verdict.as_ref())),
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
            "Completed verbs, by verb, verdict of the gate and outcome",
            self.verbs.clone(),
        );
        registry.register(
            "verb_seconds",
            "Duration of completed verbs, by verb",
            self.verb_seconds.clone(),
        );
        registry.register(
            "checks",
            "Completed checks of the guest, by check and level of the result",
            self.checks.clone(),
        );
        registry.register(
            "turns",
            "Completed turns of the agent, by outcome",
            self.turns.clone(),
        );
        registry.register(
            "turn_seconds",
            "Duration of completed turns, by outcome",
            self.turn_seconds.clone(),
        );
        registry.register(
            "approvals",
            "Decided approvals, by decision",
            self.approvals.clone(),
        );
    }
}

fn observe<const N: usize>(seconds: &Seconds<N>, labels: &Labels<N>, millis: u64) {
    let took = std::time::Duration::from_millis(millis);
    seconds.get_or_create(labels).observe(took.as_secs_f64());
}

/// The verdict without its details: a lock's name would make the set of labels unbounded.
const fn verdict_label(verdict: Option<&Verdict>) -> &'static str {
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
    fn verdict_label_omits_the_lock() {
        let locked = Verdict::Locked("backup of tuesday".to_owned());
        assert_eq!(verdict_label(Some(&locked)), "locked");
        assert_eq!(verdict_label(None), "none");
    }
}
