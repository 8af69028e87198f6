//! Queries for incidents and tombstones; events are read in `events`.

use rusqlite::{Connection, OptionalExtension, Row};

use super::{optional_time, time};
use crate::summary::IncidentSummary;
use crate::tombstone::Tombstone;
use breakglass_model::{IncidentId, Time};

/// Maximum number of incidents in a list of active ones.
const ACTIVE_MAX: usize = 10_000;
/// Maximum number of incidents in a list.
const LISTED_MAX: usize = 1000;
/// Maximum number of open incidents of one target in a list.
const OPEN_MAX: i64 = 64;

const SUMMARY: &str = "SELECT id, target, drill, opened_at, closed_at, head, last_at, turn, imported_at FROM incident";

fn summary(row: &Row<'_>) -> rusqlite::Result<IncidentSummary> {
    Ok(IncidentSummary {
        incident: row.get(0)?,
        target: row.get(1)?,
        drill: row.get(2)?,
        opened_at: time(row, 3)?,
        closed_at: optional_time(row, 4)?,
        head: row.get::<_, i64>(5)?.cast_unsigned(),
        last_at: time(row, 6)?,
        running_turn: row.get(7)?,
        imported_at: optional_time(row, 8)?,
    })
}

pub(crate) fn list(connection: &Connection) -> rusqlite::Result<Vec<IncidentSummary>> {
    let sql = format!("{SUMMARY} ORDER BY opened_at DESC, number DESC LIMIT {LISTED_MAX}");
    connection
        .prepare_cached(&sql)?
        .query_map([], summary)?
        .collect()
}

pub(crate) fn active_since(
    connection: &Connection,
    at: Time,
) -> rusqlite::Result<Vec<IncidentSummary>> {
    let sql = format!("{SUMMARY} WHERE last_at >= ?1 ORDER BY number DESC LIMIT {ACTIVE_MAX}");
    let mut active: Vec<IncidentSummary> = connection
        .prepare_cached(&sql)?
        .query_map([at.to_string()], summary)?
        .collect::<rusqlite::Result<_>>()?;
    active.reverse();
    Ok(active)
}

pub(crate) fn one(
    connection: &Connection,
    incident: IncidentId,
) -> rusqlite::Result<Option<IncidentSummary>> {
    let sql = format!("{SUMMARY} WHERE id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_map([incident], summary)?
        .next()
        .transpose()
}

/// The open incidents of a target, newest first.
pub(crate) fn open_of(connection: &Connection, target: &str) -> rusqlite::Result<Vec<IncidentId>> {
    let sql = "SELECT id FROM incident WHERE target = ?1 AND closed_at IS NULL ORDER BY number DESC LIMIT ?2";
    connection
        .prepare_cached(sql)?
        .query_map((target, OPEN_MAX), |row| row.get(0))?
        .collect()
}

/// The tombstone of an incident; the newest if it was imported again and removed again.
pub(crate) fn tombstone_of(
    connection: &Connection,
    incident: IncidentId,
) -> rusqlite::Result<Option<Tombstone>> {
    let sql = "SELECT json FROM tombstone WHERE incident = ?1 ORDER BY entry DESC LIMIT 1";
    let json: Option<String> = connection
        .prepare_cached(sql)?
        .query_row([incident], |row| row.get(0))
        .optional()?;
    Ok(json.and_then(|json| serde_json::from_str(&json).ok()))
}
