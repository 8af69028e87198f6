use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::place;
use crate::canonical::{Effect, Encoded};
use crate::chain::{self, Hash};
use crate::ended::Ended;
use crate::error::LogError;
use breakglass_model::IncidentId;

/// For how long a key is remembered.
const REMEMBER_MS: i64 = 24 * 60 * 60 * 1000;

/// Where an incident's log ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) number: i64,
    seq: u64,
    hash: Hash,
    closed: bool,
}

/// An event that is in the transaction.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) incident: IncidentId,
    pub(super) seq: u64,
    pub(super) canonical: String,
    pub(super) hash: Hash,
    pub(super) effect: Effect,
    pub(super) kind: &'static str,
    pub(super) ended: Option<Arc<Ended>>,
}

/// Why a command was not applied.
pub(super) enum Fault {
    /// This command is wrong; the others of its batch are not.
    Command(LogError),
    /// The store is; the whole batch falls.
    Store(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Store(error)
    }
}

/// One batch inside its transaction. The heads are a copy: they count only once it is committed.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) heads: HashMap<IncidentId, Head>,
    pub(super) at: String,
}

impl Batch<'_> {
    pub(super) fn open(
        &mut self,
        incident: IncidentId,
        target: &str,
        drill: bool,
    ) -> Result<(), Fault> {
        let hash = chain::genesis(incident);
        let insert = "INSERT INTO incident (id, target, drill, opened_at, head, head_hash, last_at) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?4)";
        self.connection
            .prepare_cached(insert)?
            .execute(params![incident, target, drill, self.at, hash])?;
        let number = self.connection.last_insert_rowid();
        self.heads.insert(
            incident,
            Head {
                number,
                seq: 0,
                hash,
                closed: false,
            },
        );
        Ok(())
    }

    pub(super) fn append(
        &mut self,
        incident: IncidentId,
        body: &Encoded,
    ) -> Result<Applied, Fault> {
        let mut head = self.head(incident)?;
        if head.closed {
            return Err(Fault::Command(LogError::Closed { incident }));
        }
        head.seq += 1;
        let canonical = body.canonical(head.seq, &self.at);
        head.hash = chain::link(&head.hash, canonical.as_bytes());
        head.closed = body.effect == Effect::Closes;
        let insert = "INSERT INTO event (place, json, hash) VALUES (?1, ?2, ?3)";
        let key = place(head.number, head.seq);
        self.connection
            .prepare_cached(insert)?
            .execute(params![key, canonical, head.hash])?;
        self.take_effect(incident, head.number, &body.effect)?;
        self.heads.insert(incident, head);
        Ok(Applied {
            incident,
            seq: head.seq,
            canonical,
            hash: head.hash,
            effect: body.effect.clone(),
            kind: body.kind,
            ended: body.ended.clone(),
        })
    }

    /// Writes where each touched log ends now.
    pub(super) fn write_heads(
        &self,
        touched: impl Iterator<Item = IncidentId>,
    ) -> rusqlite::Result<()> {
        let update =
            "UPDATE incident SET head = ?2, head_hash = ?3, last_at = ?4 WHERE number = ?1";
        let mut update = self.connection.prepare_cached(update)?;
        for head in touched.filter_map(|incident| self.heads.get(&incident)) {
            update.execute(params![
                head.number,
                head.seq.cast_signed(),
                head.hash,
                self.at
            ])?;
        }
        Ok(())
    }

    pub(super) fn remember(&self, key: &str, value: &str) -> Result<Option<String>, Fault> {
        let now = jiff::Timestamp::now().as_millisecond();
        let forget = "DELETE FROM remembered WHERE at_ms < ?1";
        self.connection
            .prepare_cached(forget)?
            .execute([now - REMEMBER_MS])?;
        let find = "SELECT value FROM remembered WHERE key = ?1";
        let known = self
            .connection
            .prepare_cached(find)?
            .query_row([key], |row| row.get(0))
            .optional()?;
        if known.is_none() {
            let insert = "INSERT INTO remembered (key, value, at_ms) VALUES (?1, ?2, ?3)";
            self.connection
                .prepare_cached(insert)?
                .execute(params![key, value, now])?;
        }
        Ok(known)
    }

    fn head(&mut self, incident: IncidentId) -> Result<Head, Fault> {
        if let Some(head) = self.heads.get(&incident) {
            return Ok(*head);
        }
        let find =
            "SELECT number, head, head_hash, closed_at IS NOT NULL FROM incident WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            let seq = row.get::<_, i64>(1)?.cast_unsigned();
            Ok(Head {
                number: row.get(0)?,
                seq,
                hash: row.get(2)?,
                closed: row.get(3)?,
            })
        };
        let head = self
            .connection
            .prepare_cached(find)?
            .query_row([incident], read)
            .optional()?;
        head.ok_or(Fault::Command(LogError::NotFound { incident }))
    }

    fn take_effect(
        &self,
        incident: IncidentId,
        number: i64,
        effect: &Effect,
    ) -> rusqlite::Result<()> {
        match effect {
            Effect::None | Effect::Speaks(_) => Ok(()),
            Effect::TurnBegins(turn) => {
                let sql = "UPDATE incident SET turn_at = iif(turn IS ?2, turn_at, ?3), turn = ?2 WHERE number = ?1";
                self.run(sql, params![number, turn, self.at])
            }
            Effect::TurnEnds(turn) => self.run(
                "UPDATE incident SET turn = NULL, turn_at = NULL WHERE number = ?1 AND turn IS ?2",
                params![number, turn],
            ),
            Effect::VerbBegins {
                operation,
                target,
                verb,
            } => {
                let sql = "INSERT OR REPLACE INTO running_verb (operation, incident, target, verb, at) VALUES (?1, ?2, ?3, ?4, ?5)";
                self.run(sql, params![operation, incident, target, verb, self.at])
            }
            Effect::VerbEnds(operation) => self.run(
                "DELETE FROM running_verb WHERE operation = ?1",
                params![operation],
            ),
            Effect::Closes => {
                self.run(
                    "DELETE FROM running_verb WHERE incident = ?1",
                    params![incident],
                )?;
                self.run("UPDATE incident SET closed_at = ?2, turn = NULL, turn_at = NULL WHERE number = ?1", params![number, self.at])
            }
        }
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(sql)?
            .execute(values)
            .map(drop)
    }
}
