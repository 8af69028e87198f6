//! Applies commands inside one transaction: appends events, moves the ends of logs, keeps running turns and verbs.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::place;
use crate::canonical::{Encoded, StateChange};
use crate::chain::{self, Hash};
use crate::completion::Completion;
use crate::error::LogError;
use breakglass_model::IncidentId;

/// How long a key is remembered.
const REMEMBER_MS: i64 = 24 * 60 * 60 * 1000;

/// The end of an incident's log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    number: i64,
    seq: u64,
    hash: Hash,
    closed: bool,
}

/// An event in the transaction.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) incident: IncidentId,
    /// The incident's number in the store.
    pub(super) number: i64,
    pub(super) seq: u64,
    pub(super) canonical: String,
    pub(super) hash: Hash,
    pub(super) change: StateChange,
    pub(super) kind: &'static str,
    pub(super) completion: Option<Arc<Completion>>,
}

/// Why a command was not applied.
pub(super) enum ApplyError {
    /// This command is invalid; the others of its batch are not affected.
    Rejected(LogError),
    /// The store failed; the whole batch is rolled back.
    Store(rusqlite::Error),
}

impl From<rusqlite::Error> for ApplyError {
    fn from(error: rusqlite::Error) -> ApplyError {
        ApplyError::Store(error)
    }
}

/// One batch inside its transaction. The heads are a copy, valid once it is committed.
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
    ) -> Result<(), ApplyError> {
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
    ) -> Result<Applied, ApplyError> {
        let mut head = self.head(incident)?;
        if head.closed {
            return Err(ApplyError::Rejected(LogError::Closed { incident }));
        }
        head.seq += 1;
        let canonical = body.canonical(head.seq, &self.at);
        head.hash = chain::link(&head.hash, canonical.as_bytes());
        head.closed = body.change == StateChange::IncidentClosed;
        let insert = "INSERT INTO event (place, json, hash) VALUES (?1, ?2, ?3)";
        let key = place(head.number, head.seq);
        self.connection
            .prepare_cached(insert)?
            .execute(params![key, canonical, head.hash])?;
        self.apply_change(incident, head.number, &body.change)?;
        self.heads.insert(incident, head);
        Ok(Applied {
            incident,
            number: head.number,
            seq: head.seq,
            canonical,
            hash: head.hash,
            change: body.change.clone(),
            kind: body.kind,
            completion: body.completion.clone(),
        })
    }

    /// Writes the new end of each changed log.
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

    pub(super) fn remember(&self, key: &str, value: &str) -> rusqlite::Result<Option<String>> {
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

    fn head(&mut self, incident: IncidentId) -> Result<Head, ApplyError> {
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
        head.ok_or(ApplyError::Rejected(LogError::NotFound { incident }))
    }

    fn apply_change(
        &self,
        incident: IncidentId,
        number: i64,
        change: &StateChange,
    ) -> rusqlite::Result<()> {
        match change {
            StateChange::None | StateChange::TextFinished(_) => Ok(()),
            StateChange::TurnStarted(turn) => {
                let sql = "UPDATE incident SET turn_at = iif(turn IS ?2, turn_at, ?3), turn = ?2 WHERE number = ?1";
                self.run(sql, params![number, turn, self.at])
            }
            StateChange::TurnEnded(turn) => self.run(
                "UPDATE incident SET turn = NULL, turn_at = NULL WHERE number = ?1 AND turn IS ?2",
                params![number, turn],
            ),
            StateChange::VerbStarted {
                operation,
                target,
                verb,
            } => {
                let sql = "INSERT OR REPLACE INTO running_verb (operation, incident, target, verb, at) VALUES (?1, ?2, ?3, ?4, ?5)";
                self.run(
                    sql,
                    params![operation, incident, target, verb.as_str(), self.at],
                )
            }
            StateChange::VerbEnded(operation) => self.run(
                "DELETE FROM running_verb WHERE operation = ?1",
                params![operation],
            ),
            StateChange::IncidentClosed => {
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
