use std::collections::VecDeque;

use breakglass_model::{Diagnosis, EventBody, Level, VerbOutcome};

use crate::findings::Finding;

/// Maximum number of lines quoted from output that was understood.
pub(super) const EVIDENCE_MAX_LINES: usize = 12;

pub(super) type Lines = VecDeque<String>;

/// The result of a diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) outcome: VerbOutcome,
    pub(super) level: Level,
    pub(crate) summary: String,
    pub(super) evidence: Vec<String>,
    pub(super) finding: Option<Finding>,
}

impl Report {
    /// A report without a finding; an error counts as a failure.
    pub(super) fn new(level: Level, summary: String, evidence: Vec<String>) -> Report {
        Report {
            outcome: if level == Level::Error {
                VerbOutcome::Failed
            } else {
                VerbOutcome::Done
            },
            level,
            summary,
            evidence,
            finding: None,
        }
    }

    /// The events that record it.
    pub(crate) fn into_events(self, diagnosis: Diagnosis) -> impl Iterator<Item = EventBody> {
        let finished = EventBody::CheckFinished {
            check: diagnosis,
            level: self.level,
            summary: self.summary,
            evidence: self.evidence.join("\n"),
        };
        let finding = self.finding;
        let finding = finding.map(|finding| finding.into_event(Some(diagnosis)));
        [finished].into_iter().chain(finding)
    }
}
