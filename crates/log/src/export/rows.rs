use rusqlite::{Connection, OptionalExtension};

use super::{FORMAT, Header};
use crate::canonical::{hex, splice};
use crate::chain::Hash;
use crate::store::place;
use breakglass_model::IncidentId;

/// From this size on, a block of lines is handed over.
const BLOCK_BYTES: usize = 256 * 1024;

/// How far an export has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) number: i64,
    /// The last `seq` that is in it.
    pub(super) last: u64,
    /// The last one that will be.
    head: u64,
}

impl Progress {
    pub(super) const fn is_done(self) -> bool {
        self.last >= self.head
    }
}

/// The header's line and where the events begin; `None`: there is no such incident. It says where
/// the log ends now, so what is appended later is not in the export.
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

/// The next events' lines. Empty before the end where events are missing: the log is broken, or was
/// removed meanwhile.
pub(super) fn block(connection: &Connection, progress: &mut Progress) -> rusqlite::Result<Vec<u8>> {
    let events =
        "SELECT place, json, hash FROM event WHERE place > ?1 AND place <= ?2 ORDER BY place";
    let mut events = connection.prepare_cached(events)?;
    let Progress { number, last, head } = *progress;
    let mut rows = events.query([place(number, last), place(number, head)])?;
    let mut lines = Vec::new();
    while lines.len() < BLOCK_BYTES
        && let Some(row) = rows.next()?
    {
        progress.last = row.get::<_, i64>(0)?.cast_unsigned() & 0xffff_ffff;
        splice(
            &mut lines,
            row.get_ref(1)?.as_bytes()?,
            row.get_ref(2)?.as_bytes()?,
        );
        lines.push(b'\n');
    }
    Ok(lines)
}
