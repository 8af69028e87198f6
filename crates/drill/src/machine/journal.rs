use std::collections::VecDeque;

use super::clock::Moment;

/// Lines kept; older ones are forgotten, as journald would.
const MAX_ENTRIES: usize = 2000;

/// A line of the guest's journal.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: Moment,
    /// `kernel`, `systemd`, or a service's name.
    pub(crate) identifier: String,
    pub(crate) pid: Option<u32>,
    pub(crate) unit: Option<String>,
    /// syslog's severity: 3 is an error, 6 information.
    pub(crate) priority: u8,
    pub(crate) message: String,
}

/// The guest's journal; survives a boot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    entries: VecDeque<Entry>,
    /// When the running boot began, and the one before it.
    boots: Vec<Moment>,
}

impl Journal {
    pub(crate) fn boot(&mut self, at: Moment) {
        self.boots.push(at);
        let surplus = self.boots.len().saturating_sub(16);
        self.boots.drain(..surplus);
    }

    /// A line of the kernel's.
    pub(crate) fn kernel(&mut self, at: Moment, priority: u8, message: &str) {
        let (identifier, message) = ("kernel".to_owned(), message.to_owned());
        self.add(Entry {
            at,
            identifier,
            pid: None,
            unit: None,
            priority,
            message,
        });
    }

    /// A line of systemd's about `unit`.
    pub(crate) fn systemd(&mut self, at: Moment, unit: &str, priority: u8, message: &str) {
        let (identifier, message) = ("systemd".to_owned(), message.to_owned());
        let unit = Some(unit.to_owned());
        self.add(Entry {
            at,
            identifier,
            pid: Some(1),
            unit,
            priority,
            message,
        });
    }

    /// An error that the service `unit` reports itself.
    pub(crate) fn service(&mut self, at: Moment, unit: &str, pid: u32, message: &str) {
        let identifier = unit.trim_end_matches(".service").to_owned();
        let (unit, message) = (Some(unit.to_owned()), message.to_owned());
        self.add(Entry {
            at,
            identifier,
            pid: Some(pid),
            unit,
            priority: 3,
            message,
        });
    }

    fn add(&mut self, entry: Entry) {
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// The lines of the boot that is `back` before the running one, oldest first; none if there
    /// was no such boot.
    pub(crate) fn of_boot(&self, back: usize) -> Vec<&Entry> {
        let Some(at) = self.boots.len().checked_sub(1 + back) else {
            return Vec::new();
        };
        let begin = self.boots[at];
        let end = self.boots.get(at + 1).copied();
        let inside = |at: Moment| at >= begin && end.is_none_or(|end| at < end);
        self.entries
            .iter()
            .filter(|entry| inside(entry.at))
            .collect()
    }

    /// Every line kept, oldest first.
    pub(crate) fn all(&self) -> Vec<&Entry> {
        self.entries.iter().collect()
    }
}
