//! The guest's systemd journal: bounded, survives a boot, knows the boots.

use std::collections::VecDeque;

use super::clock::Moment;

/// Maximum number of lines kept; older ones are dropped, as journald does.
const ENTRIES_MAX: usize = 2000;
const BOOTS_MAX: usize = 16;

/// A line of the guest's journal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) at: Moment,
    /// `kernel`, `systemd`, or the name of a service.
    pub(crate) identifier: String,
    pub(crate) pid: Option<u32>,
    pub(crate) unit: Option<String>,
    /// syslog's severity: 3 is an error, 6 is information.
    pub(crate) priority: u8,
    pub(crate) message: String,
}

impl Entry {
    /// Whether the line belongs to the service `name`, with or without `.service`.
    pub(crate) fn is_of_unit(&self, name: &str) -> bool {
        let short = |name: &str| name.trim_end_matches(".service").to_owned();
        self.unit.as_deref().map(short) == Some(short(name))
    }
}

/// The guest's journal; survives a boot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    entries: VecDeque<Entry>,
    /// When each boot began, the running one last.
    boots: VecDeque<Moment>,
}

impl Journal {
    pub(crate) fn boot(&mut self, at: Moment) {
        if self.boots.len() == BOOTS_MAX {
            self.boots.pop_front();
        }
        self.boots.push_back(at);
    }

    /// Adds a line of the kernel.
    pub(crate) fn kernel(&mut self, at: Moment, priority: u8, message: impl Into<String>) {
        self.add(Entry {
            at,
            identifier: "kernel".to_owned(),
            priority,
            message: message.into(),
            ..Entry::default()
        });
    }

    /// Adds a line of systemd about `unit`.
    pub(crate) fn systemd(&mut self, at: Moment, unit: &str, priority: u8, message: String) {
        self.add(Entry {
            at,
            identifier: "systemd".to_owned(),
            pid: Some(1),
            unit: Some(unit.to_owned()),
            priority,
            message,
        });
    }

    /// Adds an error that the service `unit` reports itself.
    pub(crate) fn service(&mut self, at: Moment, unit: &str, pid: u32, message: String) {
        self.add(Entry {
            at,
            identifier: unit.trim_end_matches(".service").to_owned(),
            pid: Some(pid),
            unit: Some(unit.to_owned()),
            priority: 3,
            message,
        });
    }

    fn add(&mut self, entry: Entry) {
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// The lines of the boot `back` boots before the running one, oldest first; none if there was no
    /// such boot.
    pub(crate) fn of_boot(&self, back: usize) -> Vec<&Entry> {
        let mut boots = self.boots.iter().rev();
        let end = back
            .checked_sub(1)
            .and_then(|later| boots.clone().nth(later));
        let Some(begin) = boots.nth(back) else {
            return Vec::new();
        };
        let during = |at: Moment| at >= *begin && end.is_none_or(|end| at < *end);
        let entries = self.entries.iter();
        entries.filter(|entry| during(entry.at)).collect()
    }

    /// Every line kept, oldest first.
    pub(crate) fn all(&self) -> Vec<&Entry> {
        self.entries.iter().collect()
    }
}
