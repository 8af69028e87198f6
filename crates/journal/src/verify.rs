use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Serialize;

use crate::chain::{self, Hash};
use crate::event::{Event, EventBody, IncidentId};
use crate::store::{open_read_only, place};

/// Why the log could not be examined at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the incident log {path} cannot be examined: {reason}")]
pub struct VerifyError {
    path: String,
    reason: String,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Every incident, oldest first.
    pub incidents: Vec<VerifiedIncident>,
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

/// Where a log departs from its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The first `seq` that does not hold.
    pub seq: u64,
    /// What is wrong with it.
    pub message: String,
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
    let failed = |error: rusqlite::Error| VerifyError {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let mut connection = open_read_only(path).map_err(failed)?;
    // One transaction: a server that goes on writing is seen at one moment.
    let transaction = connection.transaction().map_err(failed)?;
    examine(&transaction).map_err(failed)
}

fn examine(connection: &Connection) -> rusqlite::Result<VerifyReport> {
    let mut report = VerifyReport {
        incidents: Vec::new(),
        faults: Vec::new(),
    };
    let mut statement = connection.prepare(
        "SELECT number, id, target, drill, head, head_hash FROM incident ORDER BY number",
    )?;
    let mut rows = statement.query([])?;
    let mut expected = 1;
    while let Some(row) = rows.next()? {
        let claim = Claim::read(row)?;
        if claim.number != expected {
            report.faults.push(format!(
                "incidents {expected} to {} were removed",
                claim.number - 1
            ));
        }
        expected = claim.number + 1;
        report.incidents.push(claim.examine(connection)?);
    }
    let issued = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'incident'";
    let issued: i64 = connection.query_row(issued, [], |row| row.get(0))?;
    if issued >= expected {
        report
            .faults
            .push(format!("incidents {expected} to {issued} were removed"));
    }
    let orphans =
        "SELECT count(*) FROM event WHERE place >> 32 NOT IN (SELECT number FROM incident)";
    let orphans: i64 = connection.query_row(orphans, [], |row| row.get(0))?;
    if orphans > 0 {
        report.faults.push(format!(
            "{orphans} events belong to no incident that is there"
        ));
    }
    Ok(report)
}

/// What an incident's row says of its log.
struct Claim {
    number: i64,
    incident: IncidentId,
    target: String,
    drill: bool,
    head: u64,
    head_hash: Vec<u8>,
}

impl Claim {
    fn read(row: &Row<'_>) -> rusqlite::Result<Claim> {
        let head = row.get::<_, i64>(4)?.cast_unsigned();
        let (number, incident, target) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Claim {
            number,
            incident,
            target,
            drill: row.get(3)?,
            head,
            head_hash: row.get(5)?,
        })
    }

    fn examine(self, connection: &Connection) -> rusqlite::Result<VerifiedIncident> {
        let mut hash = chain::genesis(self.incident);
        let mut events = 0;
        let mut fault = None;
        let mut statement = connection.prepare_cached(
            "SELECT place, json, hash FROM event WHERE place > ?1 AND place < ?2 ORDER BY place",
        )?;
        let mut rows = statement.query([place(self.number, 0), place(self.number + 1, 0)])?;
        while let Some(row) = rows.next()? {
            match self.check(row, &hash, events + 1)? {
                Ok(link) => (hash, events) = (link, events + 1),
                Err(message) => {
                    fault = Some(Fault {
                        seq: events + 1,
                        message,
                    });
                    break;
                }
            }
        }
        let fault = fault.or_else(|| self.check_head(events, &hash));
        let head_hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(VerifiedIncident {
            incident: self.incident,
            target: self.target,
            events,
            head_hash,
            fault,
        })
    }

    /// The next link, or what is wrong with this row.
    fn check(
        &self,
        row: &Row<'_>,
        previous: &Hash,
        seq: u64,
    ) -> rusqlite::Result<Result<Hash, String>> {
        let json = row.get_ref(1)?.as_bytes()?;
        let hash = row.get_ref(2)?.as_bytes()?;
        let found = row.get::<_, i64>(0)?.cast_unsigned() & 0xffff_ffff;
        if found != seq {
            return Ok(Err(format!(
                "event {seq} is missing; the next one is {found}"
            )));
        }
        let link = chain::link(previous, json);
        if link != hash {
            return Ok(Err(format!(
                "event {seq} is not what was recorded: its hash does not follow from its content and the event before it"
            )));
        }
        let mut whole = Vec::new();
        crate::canonical::splice(&mut whole, json, hash);
        Ok(match serde_json::from_slice::<Event>(&whole) {
            Ok(event) => self.check_event(&event, seq).map(|()| link),
            Err(error) => Err(format!("event {seq} is no event: {error}")),
        })
    }

    fn check_event(&self, event: &Event, seq: u64) -> Result<(), String> {
        if event.seq != seq {
            return Err(format!("event {seq} says that it is event {}", event.seq));
        }
        match &event.body {
            EventBody::IncidentOpened { target, drill }
                if *target == self.target && *drill == self.drill =>
            {
                Ok(())
            }
            EventBody::IncidentOpened { .. } => {
                Err("the incident's row names another target than its first event".to_owned())
            }
            _ if seq == 1 => Err("the log does not begin with incident_opened".to_owned()),
            _ => Ok(()),
        }
    }

    fn check_head(&self, events: u64, hash: &Hash) -> Option<Fault> {
        let (seq, message) = if events < self.head {
            (
                events + 1,
                format!(
                    "the log was cut: it ends at {events} and its row says {}",
                    self.head
                ),
            )
        } else if events > self.head {
            (
                self.head + 1,
                format!("the log goes on to {events} and its row says {}", self.head),
            )
        } else if self.head_hash != hash {
            (
                events,
                "the row's hash is not that of the newest event".to_owned(),
            )
        } else {
            return None;
        };
        Some(Fault { seq, message })
    }
}
