//! The retention worker removes closed incidents whole, in short steps.
//!
//! ```text
//! one transaction: replace the incident's row by a tombstone, queue its number for purging
//!   └▶ small transactions: delete its events, a few hundred or a mebibyte at a time
//!        └▶ none left: remove its number from the queue
//! ```
//!
//! After the first transaction no reader sees the incident. A crash leaves either all of it or none, and the next
//! start continues the purge. The writer calls [`RetentionWorker::step`] when its queue is empty, so an append waits
//! for one short step at most.

use std::fmt;
use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::schema::{limit, used};
use super::{EventRange, StoredEvent, for_each, place, time};
use crate::canonical::hex;
use crate::chain::{self, Hash};
use crate::options::OperationSink;
use crate::retention::{Retention, Situation};
use crate::tombstone::{self, RemovalReason, Tombstone};
use breakglass_model::{EventBody, IncidentId, OperationId, Time};

/// Maximum number of events that one step deletes.
const STEP_EVENTS_MAX: usize = 256;
/// Maximum number of bytes that one step deletes, except for a single larger event.
const STEP_BYTES_MAX: usize = 1 << 20;
/// By how much a full log may grow while space is being freed.
const SPARE_BYTES: u64 = 1 << 20;

/// What one step did.
#[derive(Debug)]
pub(super) enum Step {
    /// An incident was removed.
    Removed(Tombstone),
    /// Some of its events were deleted.
    Purged,
    /// There was nothing to do.
    Nothing,
}

/// Removes closed incidents, a step at a time.
pub(crate) struct RetentionWorker {
    keep: Retention,
    max_bytes: u64,
    on_forgotten: Option<OperationSink>,
    /// There may be something to do.
    pub(super) has_work: bool,
    /// The log is nearly full, and something may be removed.
    pub(super) nearly_full: bool,
    /// The log is nearly full, and no incident is closed.
    nothing_to_remove: bool,
}

impl fmt::Debug for RetentionWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetentionWorker")
            .field("keep", &self.keep)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

impl RetentionWorker {
    pub(crate) fn new(
        keep: Retention,
        max_bytes: u64,
        on_forgotten: Option<OperationSink>,
    ) -> RetentionWorker {
        RetentionWorker {
            keep,
            max_bytes,
            on_forgotten,
            has_work: true,
            nearly_full: false,
            nothing_to_remove: false,
        }
    }

    /// Checks again at the next step: an incident was closed, or time passed.
    pub(super) fn wake(&mut self) {
        (self.has_work, self.nothing_to_remove) = (true, false);
    }

    /// Measures how full the log is.
    pub(super) fn measure(&mut self, connection: &Connection) {
        if self.nothing_to_remove {
            return;
        }
        let full = used(connection).is_ok_and(|bytes| bytes > self.max_bytes / 10 * 9);
        self.nearly_full = full;
        self.has_work |= full;
    }

    /// Runs one short transaction.
    pub(super) fn step(&mut self, connection: &mut Connection) -> rusqlite::Result<Step> {
        let stepped = limit(connection, self.max_bytes.saturating_add(SPARE_BYTES))
            .and_then(|()| self.try_step(connection));
        let stepped = limit(connection, self.max_bytes).and(stepped);
        if !matches!(stepped, Ok(Step::Removed(_) | Step::Purged)) {
            self.has_work = false;
            self.nothing_to_remove = self.nearly_full;
            self.nearly_full = false;
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
                self.measure(&transaction);
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
            oldest: oldest.since,
            closed: oldest.closed,
            nearly_full: self.nearly_full,
            now: Time::now(),
        };
        let Some(reason) = self.keep.removes(&situation) else {
            return Ok(None);
        };
        let tombstone = oldest.into_tombstone(reason);
        replace_by(connection, &tombstone)?;
        Ok(Some(tombstone))
    }

    /// Deletes the next events of a removed incident; if none is left, its number.
    fn purge(&self, connection: &Connection, number: i64) -> rusqlite::Result<()> {
        let Some(last) = self.last_of_step(connection, number)? else {
            let done = "DELETE FROM purge WHERE number = ?1";
            return connection.prepare_cached(done)?.execute([number]).map(drop);
        };
        let delete = "DELETE FROM event WHERE place > ?1 AND place <= ?2";
        let mut delete = connection.prepare_cached(delete)?;
        delete
            .execute([place(number, 0), place(number, last)])
            .map(drop)
    }

    /// The number of the last event that one step deletes. Reports the pictures of the events up to it as forgotten.
    fn last_of_step(&self, connection: &Connection, number: i64) -> rusqlite::Result<Option<u64>> {
        let (mut last, mut bytes, mut events) = (None, 0, 0);
        for_each(connection, EventRange::after(number, 0), |event| {
            bytes += event.json.len();
            if events == STEP_EVENTS_MAX || (last.is_some() && bytes > STEP_BYTES_MAX) {
                return Ok(ControlFlow::Break(()));
            }
            (last, events) = (Some(event.seq), events + 1);
            if let (Some(operation), Some(forget)) = (pictured(event), &self.on_forgotten) {
                forget(operation);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(last)
    }
}

/// The operation of a verb's last event, if a picture of the screen was kept for it.
fn pictured(event: &StoredEvent<'_>) -> Option<OperationId> {
    if event.kind() != b"verb_finished" {
        return None;
    }
    match event.decode().ok()?.body {
        EventBody::VerbFinished {
            operation,
            picture: true,
            ..
        } => Some(operation),
        _ => None,
    }
}

fn to_purge(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT number FROM purge ORDER BY number LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()
}

/// The incident that has been closed for longest.
struct Candidate {
    number: i64,
    incident: IncidentId,
    target: String,
    drill: bool,
    opened_at: Time,
    closed_at: Time,
    /// When it was closed or imported; none if unreadable.
    since: Option<Time>,
    head: i64,
    head_hash: Hash,
    /// How many incidents are closed, including this one.
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
                opened_at: time(row, 4)?,
                closed_at: time(row, 5)?,
                since: time(row, 6).ok(),
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

    fn into_tombstone(self, reason: RemovalReason) -> Tombstone {
        Tombstone {
            number: self.number,
            incident: self.incident,
            target: self.target,
            drill: self.drill,
            opened_at: self.opened_at,
            closed_at: self.closed_at,
            events: self.head.cast_unsigned(),
            head_hash: hex(&self.head_hash),
            removed_at: Time::now(),
            reason,
        }
    }
}

/// Replaces the incident by its tombstone.
fn replace_by(connection: &Connection, tombstone: &Tombstone) -> rusqlite::Result<()> {
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
