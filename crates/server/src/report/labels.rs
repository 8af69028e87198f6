//! Short texts that several parts of a report share.

use breakglass_model::{Decision, Time, VerbOutcome};

use super::markdown::code;

/// The time of day, in a code span.
pub(super) fn time(at: Time) -> String {
    code(&at.time_of_day())
}

/// The outcome of a verb in a word or two.
pub(super) const fn outcome(outcome: VerbOutcome) -> &'static str {
    match outcome {
        VerbOutcome::Done => "done",
        VerbOutcome::Failed => "failed",
        VerbOutcome::Refused => "refused",
        VerbOutcome::Unreachable => "not reached",
        VerbOutcome::Interrupted => "interrupted",
    }
}

/// A decision in a word.
pub(super) const fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allowed",
        Decision::Deny => "denied",
        Decision::Void => "void",
    }
}
