//! An incident as a Markdown report: first what a colleague reads in a minute, then tables, then
//! everything in its order.
//!
//! Nothing that a machine, a model or a person wrote is Markdown here: long texts stand in
//! fences longer than any run of backticks within, short ones in code spans. So no output can
//! forge a heading, a table, a link or a picture in the report.
//!
//! The events pass once. What the summary and the tables say is collected in bounded lists while the
//! timeline is written, which stops at its own bound; from there on, only the lists go on.

mod deeds;
mod facts;
mod markdown;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod timeline;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use breakglass_bastion::Rules;
use breakglass_log::IncidentSummary;
use breakglass_model::Event;

use facts::Facts;
use timeline::Timeline;

/// The rules by which a command only reads, the built-in ones with the operator's own; made when the
/// first report is asked for.
pub(crate) struct Reading {
    own: Option<(PathBuf, String)>,
    rules: OnceLock<Option<Arc<Rules>>>,
}

impl Reading {
    pub(crate) fn new(own: Option<(PathBuf, String)>) -> Reading {
        let rules = OnceLock::new();
        Reading { own, rules }
    }

    pub(crate) fn rules(&self) -> Option<Arc<Rules>> {
        let made = || match &self.own {
            Some((path, text)) => breakglass_config::own_rules(path, text),
            None => Rules::built_in(),
        };
        let rules = self.rules.get_or_init(|| made().ok().map(Arc::new));
        rules.clone()
    }
}

/// A report being written.
pub(crate) struct Report {
    incident: IncidentSummary,
    /// Why the record is not sound now.
    degraded: Option<String>,
    /// How an open incident's machine is now, if it was looked at.
    now: Option<String>,
    facts: Facts,
    timeline: Timeline,
}

impl Report {
    /// Of `incident`; `rules` tell which commands of the agent only read. Without them all count as
    /// changing.
    pub(crate) fn begin(
        incident: IncidentSummary,
        degraded: Option<String>,
        rules: Option<Arc<Rules>>,
    ) -> Report {
        Report {
            facts: Facts::of(&incident.target, rules),
            incident,
            degraded,
            now: None,
            timeline: Timeline::default(),
        }
    }

    /// Says how the machine is now; of a closed incident the log alone says how it ended.
    pub(crate) fn with_measured(self, measured: Option<String>) -> Report {
        let open = self.incident.closed_at.is_none() && self.incident.imported_at.is_none();
        let now = measured.filter(|_| open);
        Report { now, ..self }
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
            self.now.as_deref(),
            &self.facts,
        );
        tables::write(&mut text, &self.facts);
        text.push_str("\n## Timeline\n");
        text.push_str(&self.timeline.end());
        text
    }
}
