use std::time::Duration;

use bytes::Bytes;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};
use tokio::sync::{mpsc, oneshot};

use super::{Place, place};
use crate::canonical;
use crate::error::LogError;
use crate::follow::Selection;
use crate::summary::IncidentSummary;
use crate::tombstone::Tombstone;
use breakglass_model::{Event, IncidentId};

/// From this size on, a block of replay is handed over.
const BLOCK_BYTES: usize = 256 * 1024;
/// The most questions that wait.
const MAX_WAITING: usize = 1024;
/// The longest that a question waits for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most events that one selection looks at.
const MAX_LOOKED_AT: usize = 4096;
/// The most incidents that are told to be active.
const MAX_ACTIVE: usize = 10_000;
/// The most incidents in one list.
const MAX_LISTED: usize = 1000;
/// The most open incidents of one target in one list.
const MAX_OPEN: i64 = 64;

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// The way to the one thread that reads the log.
#[derive(Clone)]
pub(crate) struct Reader {
    questions: mpsc::Sender<Question>,
}

/// A piece of an incident's log as ready SSE bytes.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) bytes: Bytes,
    /// The last `seq` in it, or the one asked from; never beyond the log's end.
    pub(crate) last: u64,
    /// The log goes on behind it.
    pub(crate) more: bool,
    /// The incident was closed before this block was read.
    pub(crate) closed: bool,
}

/// An answer on its way.
pub(crate) type Answer<T> = oneshot::Receiver<rusqlite::Result<T>>;

impl Reader {
    pub(crate) fn start(at: Place) -> Reader {
        let (questions, mut waiting) = mpsc::channel::<Question>(MAX_WAITING);
        let answer = move || match at.open_reader() {
            Ok(connection) => {
                while let Some(question) = waiting.blocking_recv() {
                    question(&connection);
                }
            }
            Err(error) => tracing::error!(%error, "the incident log cannot be opened for reading"),
        };
        if let Err(error) = std::thread::Builder::new()
            .name("journal-reader".to_owned())
            .spawn(answer)
        {
            tracing::error!(%error, "no thread to read the incident log");
        }
        Reader { questions }
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let (question, answer) = boxed(question);
        let asked = async {
            self.questions
                .send(question)
                .await
                .map_err(|_| LogError::Stopped)?;
            receive(answer).await
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(unreadable("no answer within 10 s")))
    }

    pub(crate) async fn block(&self, number: i64, after: u64) -> Result<Block, LogError> {
        self.ask(move |connection| read_block(connection, number, after))
            .await
    }

    /// Asks for a block that will be wanted soon; `None` while there is a queue.
    pub(crate) fn block_ahead(&self, number: i64, after: u64) -> Option<Answer<Block>> {
        let (question, answer) = boxed(move |connection| read_block(connection, number, after));
        self.questions.try_send(question).ok().map(|()| answer)
    }
}

fn boxed<T: Send + 'static>(
    question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> (Question, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    (
        Box::new(move |connection| drop(reply.send(question(connection)))),
        answer,
    )
}

/// Waits for an answer that was asked for.
pub(crate) async fn receive<T>(answer: Answer<T>) -> Result<T, LogError> {
    let read = answer.await.map_err(|_| LogError::Stopped)?;
    read.map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(reason: &str) -> LogError {
    LogError::Unreadable {
        reason: reason.to_owned(),
    }
}

fn log<'a>(connection: &'a Connection) -> rusqlite::Result<CachedStatement<'a>> {
    connection.prepare_cached(
        "SELECT place, json, hash FROM event WHERE place > ?1 AND place <= ?2 ORDER BY place",
    )
}

fn read_block(connection: &Connection, number: i64, after: u64) -> rusqlite::Result<Block> {
    // The row is read before the events: if it says "closed", they are all there.
    let row = "SELECT head, closed_at IS NOT NULL FROM incident WHERE number = ?1";
    let (head, closed) = connection.prepare_cached(row)?.query_row([number], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
    })?;
    let mut last = after.min(head);
    let mut bytes = Vec::new();
    let mut statement = log(connection)?;
    let mut rows = statement.query([place(number, last), place(number, u64::from(u32::MAX))])?;
    let mut more = false;
    while let Some(row) = rows.next()? {
        if bytes.len() >= BLOCK_BYTES {
            more = true;
            break;
        }
        if bytes.capacity() == 0 {
            bytes.reserve(BLOCK_BYTES + 4096);
        }
        last = row.get::<_, i64>(0)?.cast_unsigned() & 0xffff_ffff;
        canonical::sse(
            &mut bytes,
            last,
            row.get_ref(1)?.as_bytes()?,
            row.get_ref(2)?.as_bytes()?,
        );
    }
    Ok(Block {
        bytes: Bytes::from(bytes),
        last,
        more,
        closed,
    })
}

pub(crate) fn read_events(
    connection: &Connection,
    number: i64,
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Event>> {
    let mut statement = log(connection)?;
    let mut rows = statement.query([
        place(number, after.min(u64::from(u32::MAX))),
        place(number, u64::from(u32::MAX)),
    ])?;
    let mut events = Vec::new();
    while events.len() < limit
        && let Some(row) = rows.next()?
    {
        events.push(event(row)?);
    }
    Ok(events)
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let mut json = Vec::new();
    canonical::splice(
        &mut json,
        row.get_ref(1)?.as_bytes()?,
        row.get_ref(2)?.as_bytes()?,
    );
    serde_json::from_slice(&json).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// The events of these kinds among the next of a log; the others are told by their head alone.
pub(crate) fn select(
    connection: &Connection,
    number: i64,
    after: u64,
    kinds: &[&str],
) -> rusqlite::Result<Selection> {
    let after = after.min(u64::from(u32::MAX));
    let mut statement = log(connection)?;
    let mut rows = statement.query([place(number, after), place(number, u64::from(u32::MAX))])?;
    let mut selection = Selection {
        events: Vec::new(),
        last: after,
    };
    let mut looked_at = 0;
    while looked_at < MAX_LOOKED_AT
        && let Some(row) = rows.next()?
    {
        looked_at += 1;
        selection.last = row.get::<_, i64>(0)?.cast_unsigned() & 0xffff_ffff;
        let kind = canonical::kind_of(row.get_ref(1)?.as_bytes()?);
        if kinds.iter().any(|wanted| wanted.as_bytes() == kind) {
            selection.events.push(event(row)?);
        }
    }
    Ok(selection)
}

const SUMMARY: &str = "SELECT id, target, drill, opened_at, closed_at, head, last_at, turn, imported_at FROM incident";

fn summary(row: &Row<'_>) -> rusqlite::Result<IncidentSummary> {
    Ok(IncidentSummary {
        incident: row.get(0)?,
        target: row.get(1)?,
        drill: row.get(2)?,
        opened_at: row.get(3)?,
        closed_at: row.get(4)?,
        head: row.get::<_, i64>(5)?.cast_unsigned(),
        last_at: row.get(6)?,
        running_turn: row.get(7)?,
        imported_at: row.get(8)?,
    })
}

pub(crate) fn list(connection: &Connection) -> rusqlite::Result<Vec<IncidentSummary>> {
    let sql = format!("{SUMMARY} ORDER BY opened_at DESC, number DESC LIMIT {MAX_LISTED}");
    connection
        .prepare_cached(&sql)?
        .query_map([], summary)?
        .collect()
}

pub(crate) fn active_since(
    connection: &Connection,
    at: &str,
) -> rusqlite::Result<Vec<IncidentSummary>> {
    let sql = format!("{SUMMARY} WHERE last_at >= ?1 ORDER BY number DESC LIMIT {MAX_ACTIVE}");
    let mut active: Vec<IncidentSummary> = connection
        .prepare_cached(&sql)?
        .query_map([at], summary)?
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
        .query_map((target, MAX_OPEN), |row| row.get(0))?
        .collect()
}

/// What is left of an incident that retention removed; the newest, should it have come back and
/// gone again.
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
