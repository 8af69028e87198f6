//! Verifies a log file: every incident's hash chain, the chain of tombstones, and that no incident is missing.

use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Serialize;

use crate::chain;
use crate::chain_check::{ChainCheck, Fault};
use crate::store::{EventRange, StoredEvent, for_each, format_of, open_read_only};
use crate::tombstone::{self, Tombstone};
use breakglass_model::IncidentId;

/// Why a log could not be examined at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} cannot be examined: {reason}")]
pub struct VerifyError {
    path: String,
    reason: String,
}

impl VerifyError {
    pub(crate) fn new(path: &Path, reason: impl Into<String>) -> VerifyError {
        VerifyError {
            path: path.display().to_string(),
            reason: reason.into(),
        }
    }
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Every incident, oldest first.
    pub incidents: Vec<VerifiedIncident>,
    /// What retention removed, in the order in which it did.
    pub removed: Vec<Tombstone>,
    /// Faults that belong to no incident that is there, as sentences.
    pub faults: Vec<String>,
}

/// What an audit found in one incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedIncident {
    /// Which.
    pub incident: IncidentId,
    /// Its target, as its row says.
    pub target: String,
    /// Events that hold.
    pub events: u64,
    /// The newest hash that holds; lower-case hex. To be noted elsewhere, if at all.
    pub head_hash: String,
    /// The first thing that does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

impl VerifiedIncident {
    /// What `check` found, and what ended it.
    pub(crate) fn after(
        check: &ChainCheck,
        target: String,
        fault: Option<Fault>,
    ) -> VerifiedIncident {
        VerifiedIncident {
            incident: check.incident(),
            target,
            events: check.events,
            head_hash: crate::canonical::hex(&check.hash),
            fault,
        }
    }
}

impl VerifyReport {
    /// Whether everything holds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
            && self
                .incidents
                .iter()
                .all(|incident| incident.fault.is_none())
    }
}

/// Examines every incident's chain in the log at `path`, which may be in use. Blocks; see
/// `docs` of the chain for what this can and cannot prove.
///
/// # Errors
/// [`VerifyError`] if the file cannot be read as a log.
pub fn verify(path: &Path) -> Result<VerifyReport, VerifyError> {
    let failed = |error: rusqlite::Error| VerifyError::new(path, error.to_string());
    let mut connection = open_read_only(path).map_err(failed)?;
    // One transaction: a server that goes on writing is seen at one moment.
    let transaction = connection.transaction().map_err(failed)?;
    let format = format_of(&transaction).map_err(|reason| VerifyError::new(path, reason))?;
    examine(&transaction, format).map_err(failed)
}

fn examine(connection: &Connection, format: i64) -> rusqlite::Result<VerifyReport> {
    let mut report = VerifyReport {
        incidents: Vec::new(),
        removed: Vec::new(),
        faults: Vec::new(),
    };
    let mut statement = connection.prepare(
        "SELECT number, id, target, drill, head, head_hash FROM incident ORDER BY number",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report
            .incidents
            .push(IncidentRow::read(row)?.examine(connection)?);
    }
    // The first format knew no retention.
    let retains = format > 1;
    if retains {
        tombstones(connection, &mut report)?;
    }
    gaps(connection, retains, &mut report.faults)?;
    orphans(connection, retains, &mut report.faults)?;
    Ok(report)
}

/// Every tombstone, and where their own chain does not hold.
fn tombstones(connection: &Connection, report: &mut VerifyReport) -> rusqlite::Result<()> {
    let all = "SELECT entry, number, incident, json, hash FROM tombstone ORDER BY entry";
    let mut statement = connection.prepare(all)?;
    let mut rows = statement.query([])?;
    let (mut expected, mut hash) = (1, tombstone::genesis());
    while let Some(row) = rows.next()? {
        let (entry, number): (i64, i64) = (row.get(0)?, row.get(1)?);
        let incident: IncidentId = row.get(2)?;
        let json = row.get_ref(3)?.as_bytes()?;
        hash = chain::link(&hash, json);
        let whole = serde_json::from_slice::<Tombstone>(json).ok();
        match whole.filter(|it| it.number == number && it.incident == incident) {
            Some(it) if entry == expected && hash == row.get_ref(4)?.as_bytes()? => {
                report.removed.push(it);
            }
            _ => {
                report.faults.push(format!(
                    "tombstone {expected} is not what was recorded, or is missing"
                ));
                return Ok(());
            }
        }
        expected += 1;
    }
    let issued = issued(connection, "tombstone")?;
    if issued >= expected {
        report.faults.push(format!(
            "tombstones {expected} to {issued} were removed themselves"
        ));
    }
    Ok(())
}

/// Incidents that are neither there nor have a tombstone.
fn gaps(connection: &Connection, retains: bool, faults: &mut Vec<String>) -> rusqlite::Result<()> {
    let known = if retains {
        "SELECT number FROM incident UNION ALL SELECT number FROM tombstone ORDER BY number"
    } else {
        "SELECT number FROM incident ORDER BY number"
    };
    let mut statement = connection.prepare(known)?;
    let mut rows = statement.query([])?;
    let mut expected = 1;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        if number < expected {
            faults.push(format!(
                "incident {number} is there and has a tombstone as well"
            ));
        } else if number != expected {
            faults.push(format!(
                "incidents {expected} to {} were removed",
                number - 1
            ));
        }
        expected = number + 1;
    }
    let issued = issued(connection, "incident")?;
    if issued >= expected {
        faults.push(format!("incidents {expected} to {issued} were removed"));
    }
    Ok(())
}

/// The highest number that a table ever gave.
fn issued(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    let issued = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1";
    connection.query_row(issued, [table], |row| row.get(0))
}

/// Counts events without an incident, except those of an incident that retention is removing.
fn orphans(
    connection: &Connection,
    retains: bool,
    faults: &mut Vec<String>,
) -> rusqlite::Result<()> {
    let going = if retains {
        " AND place >> 32 NOT IN (SELECT number FROM purge)"
    } else {
        ""
    };
    let orphans = format!(
        "SELECT count(*) FROM event WHERE place >> 32 NOT IN (SELECT number FROM incident){going}"
    );
    let orphans: i64 = connection.query_row(&orphans, [], |row| row.get(0))?;
    if orphans > 0 {
        faults.push(format!(
            "{orphans} events belong to no incident that is there"
        ));
    }
    Ok(())
}

/// What an incident's row says about its log.
struct IncidentRow {
    number: i64,
    incident: IncidentId,
    target: String,
    drill: bool,
    head: u64,
    head_hash: Vec<u8>,
}

impl IncidentRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<IncidentRow> {
        let head = row.get::<_, i64>(4)?.cast_unsigned();
        let (number, incident, target) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(IncidentRow {
            number,
            incident,
            target,
            drill: row.get(3)?,
            head,
            head_hash: row.get(5)?,
        })
    }

    fn examine(self, connection: &Connection) -> rusqlite::Result<VerifiedIncident> {
        let mut check = ChainCheck::new("row", self.incident, &self.target, self.drill);
        let mut fault = None;
        for_each(connection, EventRange::after(self.number, 0), |event| {
            fault = take(&mut check, event).err();
            Ok(match fault {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            })
        })?;
        let fault = fault.or_else(|| check.end(self.head, &self.head_hash));
        Ok(VerifiedIncident::after(&check, self.target, fault))
    }
}

/// Checks the next event.
fn take(check: &mut ChainCheck, event: &StoredEvent<'_>) -> Result<(), Fault> {
    let seq = check.events + 1;
    if event.seq != seq {
        let message = format!("event {seq} is missing; the next one is {}", event.seq);
        return Err(Fault { seq, message });
    }
    check.take(event.json, event.hash, &event.whole()).map(drop)
}
