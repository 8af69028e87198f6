//! Retention: closed incidents go whole, and nobody waits for it.
//!
//! ```text
//! one transaction: the incident's row goes, its tombstone comes, its number is to be purged
//!   └▶ small transactions: its events go, a few hundred or a mebibyte at a time
//!        └▶ none is left: its number is purged
//! ```
//!
//! From the first transaction on, the incident is gone for every reader; a crash at any moment
//! leaves either all of it or none, and the next start goes on with the purge. The writer takes one
//! step when its queue is empty, so an append waits for one short step at most.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::place;
use super::schema::{limit, used};
use crate::canonical::{hex, kind_of};
use crate::chain::{self, Hash};
use crate::options::OperationSink;
use crate::retention::{Retention, Situation};
use crate::tombstone::{self, Removal, Tombstone};
use breakglass_model::clock;
use breakglass_model::{Event, EventBody, IncidentId, OperationId};

/// The most events in one step.
const MAX_EVENTS: i64 = 256;
/// The most bytes of events in one step, or one event.
const MAX_BYTES: i64 = 1 << 20;
/// What a full log may grow by, so that room can be made.
const SPARE_BYTES: u64 = 1 << 20;

/// What one step did.
#[derive(Debug)]
pub(super) enum Step {
    /// An incident is gone.
    Removed(Tombstone),
    /// Some of its events are.
    Purged,
    /// There was nothing to do.
    Nothing,
}

/// Decides what goes, and lets it go step by step.
pub(crate) struct Keeper {
    keep: Retention,
    max_bytes: u64,
    on_forgotten: Option<OperationSink>,
    /// There may be something to do.
    pub(super) restless: bool,
    /// The log is nearly full, and something may be removed.
    pub(super) pressed: bool,
    /// The log is nearly full, and no incident is closed.
    barren: bool,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("keep", &self.keep)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

impl Keeper {
    pub(crate) fn new(
        keep: Retention,
        max_bytes: u64,
        on_forgotten: Option<OperationSink>,
    ) -> Keeper {
        Keeper {
            keep,
            max_bytes,
            on_forgotten,
            restless: true,
            pressed: false,
            barren: false,
        }
    }

    /// Looks again whether something is to be removed: an incident was closed, or time went by.
    pub(super) fn wake(&mut self) {
        (self.restless, self.barren) = (true, false);
    }

    /// Notes how full the log is after a write.
    pub(super) fn weigh(&mut self, connection: &Connection) {
        if self.barren {
            return;
        }
        let full = used(connection).is_ok_and(|bytes| bytes > self.max_bytes / 10 * 9);
        self.pressed = full;
        self.restless |= full;
    }

    /// One short transaction.
    pub(super) fn step(&mut self, connection: &mut Connection) -> rusqlite::Result<Step> {
        let stepped = limit(connection, self.max_bytes.saturating_add(SPARE_BYTES))
            .and_then(|()| self.try_step(connection));
        let stepped = limit(connection, self.max_bytes).and(stepped);
        if !matches!(stepped, Ok(Step::Removed(_) | Step::Purged)) {
            self.restless = false;
            self.barren = self.pressed;
            self.pressed = false;
        }
        stepped
    }

    fn try_step(&mut self, connection: &mut Connection) -> rusqlite::Result<Step> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let step = match to_purge(&transaction)? {
            Some(number) => {
                self.purge(&transaction, number)?;
                Step::Purged
            }
            None => {
                self.weigh(&transaction);
                match self.remove(&transaction)? {
                    Some(tombstone) => Step::Removed(tombstone),
                    None => return Ok(Step::Nothing),
                }
            }
        };
        transaction.commit().map(|()| step)
    }

    fn remove(&self, connection: &Connection) -> rusqlite::Result<Option<Tombstone>> {
        let Some(oldest) = Candidate::oldest(connection)? else {
            return Ok(None);
        };
        let situation = Situation {
            oldest: &oldest.since,
            closed: oldest.closed,
            pressed: self.pressed,
            now: jiff::Timestamp::now(),
        };
        let Some(reason) = self.keep.removes(&situation) else {
            return Ok(None);
        };
        let tombstone = oldest.buried(reason);
        bury(connection, &tombstone)?;
        Ok(Some(tombstone))
    }

    /// Deletes the next events of an incident that is gone, or its number where none is left.
    fn purge(&self, connection: &Connection, number: i64) -> rusqlite::Result<()> {
        let Some(end) = self.last_of_step(connection, number)? else {
            let done = "DELETE FROM purge WHERE number = ?1";
            return connection.prepare_cached(done)?.execute([number]).map(drop);
        };
        let delete = "DELETE FROM event WHERE place > ?1 AND place <= ?2";
        let mut delete = connection.prepare_cached(delete)?;
        delete.execute([place(number, 0), end]).map(drop)
    }

    /// The place up to which one step deletes. Forgets the pictures of what is before it.
    fn last_of_step(&self, connection: &Connection, number: i64) -> rusqlite::Result<Option<i64>> {
        let next = "SELECT place, octet_length(json) FROM event WHERE place > ?1 AND place < ?2 ORDER BY place LIMIT ?3";
        let mut next = connection.prepare_cached(next)?;
        let (from, to) = (place(number, 0), place(number + 1, 0));
        let mut rows = next.query(params![from, to, MAX_EVENTS])?;
        let (mut last, mut bytes) = (None, 0);
        while let Some(row) = rows.next()? {
            bytes += row.get::<_, i64>(1)?;
            if last.is_some() && bytes > MAX_BYTES {
                break;
            }
            last = Some(row.get(0)?);
        }
        if let (Some(last), Some(forget)) = (last, &self.on_forgotten) {
            pictured(connection, from, last)?
                .into_iter()
                .for_each(forget);
        }
        Ok(last)
    }
}

/// The operations among these events whose screen was kept.
fn pictured(connection: &Connection, from: i64, last: i64) -> rusqlite::Result<Vec<OperationId>> {
    let events = "SELECT json, hash FROM event WHERE place > ?1 AND place <= ?2";
    let mut events = connection.prepare_cached(events)?;
    let mut rows = events.query([from, last])?;
    let mut operations = Vec::new();
    while let Some(row) = rows.next()? {
        let json = row.get_ref(0)?.as_bytes()?;
        if kind_of(json) != b"verb_finished" {
            continue;
        }
        let mut whole = Vec::new();
        crate::canonical::splice(&mut whole, json, row.get_ref(1)?.as_bytes()?);
        if let Ok(Event {
            body:
                EventBody::VerbFinished {
                    operation,
                    picture: true,
                    ..
                },
            ..
        }) = serde_json::from_slice(&whole)
        {
            operations.push(operation);
        }
    }
    Ok(operations)
}

fn to_purge(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT number FROM purge ORDER BY number LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}

/// The incident that is closed for longest.
struct Candidate {
    number: i64,
    incident: IncidentId,
    target: String,
    drill: bool,
    opened_at: String,
    closed_at: String,
    /// Since when it is here and closed.
    since: String,
    head: i64,
    head_hash: Hash,
    /// How many are closed, with this one.
    closed: u64,
}

impl Candidate {
    fn oldest(connection: &Connection) -> rusqlite::Result<Option<Candidate>> {
        let sql = "SELECT number, id, target, drill, opened_at, closed_at,
                     coalesce(imported_at, closed_at) AS since, head, head_hash,
                     (SELECT count(*) FROM incident WHERE closed_at IS NOT NULL)
                   FROM incident WHERE closed_at IS NOT NULL ORDER BY since, number LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Candidate {
                number: row.get(0)?,
                incident: row.get(1)?,
                target: row.get(2)?,
                drill: row.get(3)?,
                opened_at: row.get(4)?,
                closed_at: row.get(5)?,
                since: row.get(6)?,
                head: row.get(7)?,
                head_hash: row.get(8)?,
                closed: row.get::<_, i64>(9)?.cast_unsigned(),
            })
        };
        connection
            .prepare_cached(sql)?
            .query_row([], read)
            .optional()
    }

    fn buried(self, reason: Removal) -> Tombstone {
        Tombstone {
            number: self.number,
            incident: self.incident,
            target: self.target,
            drill: self.drill,
            opened_at: self.opened_at,
            closed_at: self.closed_at,
            events: self.head.cast_unsigned(),
            head_hash: hex(&self.head_hash),
            removed_at: clock::now(),
            reason,
        }
    }
}

/// Puts the tombstone in the incident's place.
fn bury(connection: &Connection, tombstone: &Tombstone) -> rusqlite::Result<()> {
    let json = serde_json::to_string(tombstone)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let newest = "SELECT hash FROM tombstone ORDER BY entry DESC LIMIT 1";
    let previous: Option<Hash> = connection
        .prepare_cached(newest)?
        .query_row([], |row| row.get(0))
        .optional()?;
    let hash = chain::link(
        &previous.unwrap_or_else(tombstone::genesis),
        json.as_bytes(),
    );
    let (number, incident) = (tombstone.number, tombstone.incident);
    let steps: [(&str, &[&dyn rusqlite::ToSql]); 4] = [
        (
            "INSERT INTO tombstone (number, incident, json, hash) VALUES (?1, ?2, ?3, ?4)",
            params![number, incident, json, hash],
        ),
        ("INSERT INTO purge (number) VALUES (?1)", params![number]),
        (
            "DELETE FROM running_verb WHERE incident = ?1",
            params![incident],
        ),
        ("DELETE FROM incident WHERE number = ?1", params![number]),
    ];
    for (sql, values) in steps {
        connection.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}
