//! Imports an exported incident into a log, in one transaction: completely or not at all.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::file::{ExportError, Line, Lines};
use crate::canonical::hex;
use crate::chain::Hash;
use crate::chain_check::Fault;
use crate::store::{StoreLocation, place, tombstone_of};
use breakglass_model::{Event, IncidentId, Time};

/// The result of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Which one.
    pub incident: IncidentId,
    /// The target.
    pub target: String,
    /// The number of its events.
    pub events: u64,
    /// The hash of the last event; lower-case hex.
    pub head_hash: String,
    /// Whether it was added; `false`: the log already had the same incident.
    pub new: bool,
}

/// Imports an exported incident into the log file at `record`, which no server may have open. The incident keeps its
/// id, events and hashes, and is closed, whatever its last event is. The file is verified before the log is opened,
/// and again while it is copied, in one transaction. Blocks; keeps one event in memory.
///
/// # Errors
/// [`ExportError`]; nothing was written then.
pub fn import(file: &Path, record: &Path) -> Result<Imported, ExportError> {
    let mut lines = Lines::open(file)?;
    let ends = Ends::of(&mut lines)?;
    let mut connection = open(record)?;
    let failed = |error: rusqlite::Error| ExportError::record(record, &error);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let new = match known(&transaction, &lines).map_err(failed)? {
        Known::Same => false,
        Known::Otherwise(reason) => {
            let incident = lines.header.incident;
            return Err(ExportError::Other { incident, reason });
        }
        Known::Not => {
            copy(file, &lines, &ends, &transaction, record)?;
            true
        }
    };
    transaction.commit().map_err(failed)?;
    Ok(Imported {
        incident: lines.header.incident,
        target: lines.header.target,
        events: lines.check.events,
        head_hash: hex(&lines.check.hash),
        new,
    })
}

fn open(record: &Path) -> Result<Connection, ExportError> {
    // Without a size limit: the server's retention frees space again.
    let opened = StoreLocation::File(record.to_owned()).open_alone(u64::MAX);
    opened.map_err(|reason| {
        let reason = if reason.contains("locked") {
            "a server or another program has it open; end that, and import again".to_owned()
        } else {
            reason
        };
        ExportError::record(record, &reason)
    })
}

/// The times of an export's first and last event.
struct Ends {
    first: Time,
    last: Time,
}

impl Ends {
    /// Reads the whole file, which must be correct to its end.
    fn of(lines: &mut Lines) -> Result<Ends, ExportError> {
        let mut ends: Option<Ends> = None;
        let fault = lines.each(|line| {
            let at = time_of(&line.event).map_err(ExportError::broken)?;
            let first = ends.as_ref().map_or(at, |ends| ends.first);
            ends = Some(Ends { first, last: at });
            Ok::<(), ExportError>(())
        })?;
        let empty = || Fault {
            seq: 1,
            message: "it holds no event".to_owned(),
        };
        match fault {
            Some(fault) => Err(ExportError::broken(fault)),
            None => ends.ok_or_else(|| ExportError::broken(empty())),
        }
    }
}

fn time_of(event: &Event) -> Result<Time, Fault> {
    if event.seq < u64::from(u32::MAX) {
        return Ok(event.at);
    }
    Err(Fault {
        seq: event.seq,
        message: "there are more events than a log can have".to_owned(),
    })
}

/// Whether the log has the incident.
enum Known {
    Not,
    Same,
    Otherwise(String),
}

fn known(connection: &Connection, lines: &Lines) -> rusqlite::Result<Known> {
    let incident = lines.header.incident;
    let ours = (lines.check.events, hex(&lines.check.hash));
    let row = "SELECT head, head_hash FROM incident WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        let head = row.get::<_, i64>(0)?.cast_unsigned();
        Ok((head, hex(&row.get::<_, Hash>(1)?)))
    };
    let there = connection.query_row(row, [incident], read).optional()?;
    if let Some(there) = there {
        return Ok(if there == ours {
            Known::Same
        } else {
            Known::Otherwise(differs("it has", &there, &ours))
        });
    }
    let gone = tombstone_of(connection, incident)?.map(|gone| (gone.events, gone.head_hash));
    Ok(match gone {
        Some(gone) if gone != ours => {
            Known::Otherwise(differs("retention removed one with", &gone, &ours))
        }
        _ => Known::Not,
    })
}

fn differs(how: &str, there: &(u64, String), ours: &(u64, String)) -> String {
    format!(
        "{how} {} events that end in {}, the export {} that end in {}",
        there.0, there.1, ours.0, ours.1
    )
}

/// Copies the file into the transaction and verifies it again: it may have changed meanwhile.
fn copy(
    file: &Path,
    proved: &Lines,
    ends: &Ends,
    transaction: &Transaction<'_>,
    record: &Path,
) -> Result<(), ExportError> {
    let failed = |error: rusqlite::Error| ExportError::record(record, &error);
    let mut lines = Lines::open(file)?;
    let number = enter(transaction, proved, ends).map_err(failed)?;
    let fault = lines.each(|line| put(transaction, number, &line).map_err(failed))?;
    let changed = || Fault {
        seq: 1,
        message: "the file was changed while it was read".to_owned(),
    };
    match fault {
        Some(fault) => Err(ExportError::broken(fault)),
        None if lines.check.hash != proved.check.hash => Err(ExportError::broken(changed())),
        None => Ok(()),
    }
}

/// Inserts the incident's row and returns its number.
fn enter(connection: &Connection, proved: &Lines, ends: &Ends) -> rusqlite::Result<i64> {
    let insert = "INSERT INTO incident (id, target, drill, opened_at, closed_at, head, head_hash, last_at, imported_at)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?5, ?8)";
    let (header, check) = (&proved.header, &proved.check);
    connection.execute(
        insert,
        params![
            header.incident,
            header.target,
            header.drill,
            ends.first.to_string(),
            ends.last.to_string(),
            check.events.cast_signed(),
            check.hash,
            Time::now().to_string()
        ],
    )?;
    Ok(connection.last_insert_rowid())
}

fn put(connection: &Connection, number: i64, line: &Line<'_>) -> rusqlite::Result<()> {
    let insert = "INSERT INTO event (place, json, hash) VALUES (?1, ?2, ?3)";
    // What serde took for JSON is UTF-8, so nothing is ever replaced here.
    let json = String::from_utf8_lossy(line.canonical);
    let key = place(number, line.event.seq);
    let mut insert = connection.prepare_cached(insert)?;
    insert.execute(params![key, json, line.hash]).map(drop)
}
