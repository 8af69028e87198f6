//! An incident as a Markdown report: first what a colleague reads in a minute, then tables, then
//! everything in its order.
//!
//! Nothing that a machine, a model or a person wrote is Markdown here: long texts stand in
//! fences longer than any run of backticks within, short ones in code spans. So no output can
//! forge a heading, a table, a link or a picture in the report.
//!
//! The events pass once. What the summary and the tables say is collected in bounded lists while the
//! timeline is written, which stops at its own bound; from there on, only the lists go on.

mod facts;
mod markdown;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod timeline;

use breakglass_journal::{Event, IncidentSummary};

use facts::Facts;
use timeline::Timeline;

/// A report being written.
pub(crate) struct Report {
    incident: IncidentSummary,
    /// Why the record is not sound now.
    degraded: Option<String>,
    facts: Facts,
    timeline: Timeline,
}

impl Report {
    pub(crate) fn begin(incident: IncidentSummary, degraded: Option<String>) -> Report {
        Report {
            incident,
            degraded,
            facts: Facts::default(),
            timeline: Timeline::default(),
        }
    }

    /// Takes the next event.
    pub(crate) fn add(&mut self, event: &Event) {
        self.facts.add(event);
        self.timeline.add(event);
    }

    /// The whole report: at most 4 MiB of timeline, and what the bounded lists take.
    pub(crate) fn end(self) -> String {
        let mut text = String::new();
        summary::write(
            &mut text,
            &self.incident,
            self.degraded.as_deref(),
            &self.facts,
        );
        tables::write(&mut text, &self.facts);
        text.push_str("\n## Timeline\n");
        text.push_str(&self.timeline.end());
        text
    }
}
