//! An incident as a Markdown report: a summary, tables, and a timeline.
//!
//! Text of machines, models and people is never interpreted as Markdown: long texts are in fences
//! that are longer than any run of backticks in them, short ones in code spans. So no output can forge
//! a heading, a table, a link or a picture.
//!
//! The events are read once: the timeline is written as they come, up to its limit, and the facts for
//! the summary and the tables are collected in bounded lists.

mod actions;
mod facts;
mod labels;
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

/// The rules for read-only commands: the built-in ones and the operator's own. They are parsed for the
/// first report.
pub(crate) struct ReportRules {
    own: Option<(PathBuf, String)>,
    parsed: OnceLock<Option<Arc<Rules>>>,
}

impl ReportRules {
    pub(crate) fn new(own: Option<(PathBuf, String)>) -> ReportRules {
        let parsed = OnceLock::new();
        ReportRules { own, parsed }
    }

    /// The rules; `None` if they can't be parsed.
    pub(crate) fn get(&self) -> Option<Arc<Rules>> {
        let parse = || match &self.own {
            Some((path, text)) => breakglass_config::own_rules(path, text),
            None => Rules::built_in(),
        };
        let rules = self.parsed.get_or_init(|| parse().ok().map(Arc::new));
        rules.clone()
    }
}

/// A report being written.
pub(crate) struct Report {
    incident: IncidentSummary,
    /// The reason why the log is degraded now.
    degraded: Option<String>,
    /// The current vital signs of an open incident's machine.
    now: Option<String>,
    facts: Facts,
    timeline: Timeline,
}

impl Report {
    /// Starts the report of `incident`. `rules` identify the agent's read-only commands; without rules
    /// all commands count as changing.
    pub(crate) fn new(
        incident: IncidentSummary,
        degraded: Option<String>,
        rules: Option<Arc<Rules>>,
    ) -> Report {
        Report {
            facts: Facts::new(&incident.target, rules),
            incident,
            degraded,
            now: None,
            timeline: Timeline::default(),
        }
    }

    /// Adds the machine's current vital signs, unless the incident is closed: then only the log counts.
    pub(crate) fn with_measured(self, measured: Option<String>) -> Report {
        let open = self.incident.closed_at.is_none() && self.incident.imported_at.is_none();
        let now = measured.filter(|_| open);
        Report { now, ..self }
    }

    /// Adds the next event.
    pub(crate) fn add(&mut self, event: &Event) {
        self.facts.add(event);
        self.timeline.add(event);
    }

    /// The whole report: at most 4 MiB of timeline, plus the bounded summary and tables.
    pub(crate) fn finish(self) -> String {
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
        text.push_str(&self.timeline.finish());
        text
    }
}
