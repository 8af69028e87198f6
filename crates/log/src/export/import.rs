use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::file::{ExportError, Line, Lines};
use crate::canonical::hex;
use crate::chain::Hash;
use crate::store::{Place, place, tombstone_of};
use crate::walk::Fault;
use breakglass_model::clock;
use breakglass_model::{Event, IncidentId};

/// What became of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Which.
    pub incident: IncidentId,
    /// The machine that it is about.
    pub target: String,
    /// How many events it has.
    pub events: u64,
    /// The hash of the last one; lower-case hex.
    pub head_hash: String,
    /// Whether it is in the record only since now; `false`: it was there before, and is the same.
    pub new: bool,
}

/// Takes an exported incident into the record file at `record`, which no server may have open.
/// It keeps its id, its events and its hashes, and is closed from the first moment on, whatever its
/// last event is. The file is proved whole before the record is opened, and once more while it is
/// copied, in one transaction. Blocks; holds one event in memory.
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
        events: lines.walk.events,
        head_hash: hex(&lines.walk.hash),
        new,
    })
}

fn open(record: &Path) -> Result<Connection, ExportError> {
    // Whatever bound the server has: its retention makes room again.
    let opened = Place::File(record.to_owned()).open_alone(u64::MAX);
    opened.map_err(|reason| {
        let reason = if reason.contains("locked") {
            "a server or another program has it open; end that, and import again".to_owned()
        } else {
            reason
        };
        ExportError::record(record, &reason)
    })
}

/// When an export's first and last event happened.
struct Ends {
    first: String,
    last: String,
}

impl Ends {
    /// Goes through the whole file, which must hold to its end.
    fn of(lines: &mut Lines) -> Result<Ends, ExportError> {
        let mut ends: Option<Ends> = None;
        let fault = lines.each(|line| {
            let at = time_of(&line.event).map_err(ExportError::broken)?;
            let first = ends.take().map_or_else(|| at.clone(), |ends| ends.first);
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

fn time_of(event: &Event) -> Result<String, Fault> {
    match event.at.parse::<jiff::Timestamp>() {
        Ok(_) if event.seq < u64::from(u32::MAX) => Ok(event.at.clone()),
        Ok(_) => Err(Fault {
            seq: event.seq,
            message: "there are more events than a log can have".to_owned(),
        }),
        Err(error) => Err(Fault {
            seq: event.seq,
            message: format!("its time can't be read: {error}"),
        }),
    }
}

/// Whether the record has the incident.
enum Known {
    Not,
    Same,
    Otherwise(String),
}

fn known(connection: &Connection, lines: &Lines) -> rusqlite::Result<Known> {
    let incident = lines.header.incident;
    let ours = (lines.walk.events, hex(&lines.walk.hash));
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

/// Copies the file into the transaction, proving it once more: it may have been changed meanwhile.
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
        None if lines.walk.hash != proved.walk.hash => Err(ExportError::broken(changed())),
        None => Ok(()),
    }
}

/// The incident's row; gives its number.
fn enter(connection: &Connection, proved: &Lines, ends: &Ends) -> rusqlite::Result<i64> {
    let insert = "INSERT INTO incident (id, target, drill, opened_at, closed_at, head, head_hash, last_at, imported_at)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?5, ?8)";
    let (header, walk) = (&proved.header, &proved.walk);
    connection.execute(
        insert,
        params![
            header.incident,
            header.target,
            header.drill,
            ends.first,
            ends.last,
            walk.events.cast_signed(),
            walk.hash,
            clock::now()
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
