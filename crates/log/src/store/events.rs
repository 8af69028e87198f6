//! The one way to read stored events: in order, a row at a time, without copying them.
//!
//! Replay, export, verification, retention and everything that needs typed events go through [`for_each`].

use std::ops::ControlFlow;

use rusqlite::Connection;

use super::unreadable_text;
use crate::canonical;
use breakglass_model::Event;

/// Stop reading when a page has this size.
const PAGE_BYTES: usize = 256 * 1024;
/// Maximum number of events to look at for one page.
const PAGE_EVENTS_MAX: usize = 4096;

/// An event as it is stored.
pub(crate) struct StoredEvent<'r> {
    pub(crate) seq: u64,
    /// The canonical bytes.
    pub(crate) json: &'r [u8],
    pub(crate) hash: &'r [u8],
}

impl StoredEvent<'_> {
    pub(crate) fn kind(&self) -> &[u8] {
        canonical::kind_of(self.json)
    }

    /// The whole JSON, with the hash.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        canonical::splice(&mut whole, self.json, self.hash);
        whole
    }

    /// The typed event.
    pub(crate) fn decode(&self) -> rusqlite::Result<Event> {
        canonical::decode(&self.whole()).map_err(|reason| unreadable_text(1, reason.into()))
    }
}

/// The events of one incident after `after`, up to `until`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventRange {
    pub(crate) number: i64,
    pub(crate) after: u64,
    pub(crate) until: u64,
}

impl EventRange {
    pub(crate) fn after(number: i64, after: u64) -> EventRange {
        let until = u64::from(u32::MAX);
        EventRange {
            number,
            after: after.min(until),
            until,
        }
    }
}

/// The key of an event: its incident's number, then its `seq`, so that one incident's events are neighbours.
pub(crate) const fn place(number: i64, seq: u64) -> i64 {
    (number << 32) | (seq.cast_signed() & 0xffff_ffff)
}

/// Calls `visit` for each event of `range`, in order, until it breaks.
pub(crate) fn for_each(
    connection: &Connection,
    range: EventRange,
    mut visit: impl FnMut(&StoredEvent<'_>) -> rusqlite::Result<ControlFlow<()>>,
) -> rusqlite::Result<()> {
    let events =
        "SELECT place, json, hash FROM event WHERE place > ?1 AND place <= ?2 ORDER BY place";
    let mut events = connection.prepare_cached(events)?;
    let EventRange {
        number,
        after,
        until,
    } = range;
    let mut rows = events.query([place(number, after), place(number, until)])?;
    while let Some(row) = rows.next()? {
        let event = StoredEvent {
            seq: row.get::<_, i64>(0)?.cast_unsigned() & 0xffff_ffff,
            json: row.get_ref(1)?.as_bytes()?,
            hash: row.get_ref(2)?.as_bytes()?,
        };
        if visit(&event)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// A part of an incident's log, as typed events.
#[derive(Debug)]
pub(crate) struct EventPage {
    pub(crate) events: Vec<Event>,
    /// The last `seq` that was looked at; unchanged if there was none.
    pub(crate) last: u64,
}

/// The next events of an incident after `after`; only those of `kinds`, if given.
pub(crate) fn read_page(
    connection: &Connection,
    number: i64,
    after: u64,
    kinds: Option<&[&str]>,
) -> rusqlite::Result<EventPage> {
    let mut page = EventPage {
        events: Vec::new(),
        last: after,
    };
    let (mut seen, mut bytes) = (0, 0);
    for_each(connection, EventRange::after(number, after), |event| {
        page.last = event.seq;
        seen += 1;
        let is_wanted = |kinds: &[&str]| kinds.iter().any(|it| it.as_bytes() == event.kind());
        if kinds.is_none_or(is_wanted) {
            bytes += event.json.len();
            page.events.push(event.decode()?);
        }
        Ok(if bytes >= PAGE_BYTES || seen >= PAGE_EVENTS_MAX {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    Ok(page)
}
