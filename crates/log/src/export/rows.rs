use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension};

use super::{FORMAT, Header};
use crate::canonical::{hex, splice};
use crate::chain::Hash;
use crate::store::{EventRange, for_each};
use breakglass_model::IncidentId;

/// A page of lines ends at this size.
const PAGE_BYTES: usize = 256 * 1024;

/// The progress of an export.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) number: i64,
    /// The last `seq` written.
    pub(super) last: u64,
    /// The last `seq` to write.
    head: u64,
}

impl Progress {
    pub(super) const fn is_done(self) -> bool {
        self.last >= self.head
    }
}

/// The header's line and the start of the events; `None` if the incident does not exist. The export ends at the
/// current end of the log.
pub(super) fn begin(
    connection: &Connection,
    incident: IncidentId,
) -> rusqlite::Result<Option<(Vec<u8>, Progress)>> {
    let row = "SELECT number, target, drill, head, head_hash FROM incident WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        let head = row.get::<_, i64>(3)?.cast_unsigned();
        let header = Header {
            breakglass_export: FORMAT,
            incident,
            target: row.get(1)?,
            drill: row.get(2)?,
            events: head,
            head_hash: hex(&row.get::<_, Hash>(4)?),
            breakglass: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let progress = Progress {
            number: row.get(0)?,
            last: 0,
            head,
        };
        Ok((header, progress))
    };
    let found = connection.query_row(row, [incident], read).optional()?;
    let Some((header, progress)) = found else {
        return Ok(None);
    };
    let mut line = header
        .written()
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    line.push(b'\n');
    Ok(Some((line, progress)))
}

/// The next events' lines. Empty before the end if events are missing: the log is damaged, or the incident was removed
/// meanwhile.
pub(super) fn page(connection: &Connection, progress: &mut Progress) -> rusqlite::Result<Vec<u8>> {
    let range = EventRange {
        number: progress.number,
        after: progress.last,
        until: progress.head,
    };
    let mut lines = Vec::new();
    for_each(connection, range, |event| {
        progress.last = event.seq;
        splice(&mut lines, event.json, event.hash);
        lines.push(b'\n');
        Ok(if lines.len() < PAGE_BYTES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    Ok(lines)
}
