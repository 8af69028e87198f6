//! The thread that reads the store, and the pages of ready SSE bytes for replay.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{EventRange, StoreLocation, for_each};
use crate::canonical;
use crate::error::LogError;

/// A page of replay ends at this size.
const PAGE_BYTES: usize = 256 * 1024;
/// Maximum number of waiting queries.
const QUERIES_MAX: usize = 1024;
/// Timeout of a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// Sends queries to the one thread that reads the log.
#[derive(Clone)]
pub(crate) struct Reader {
    queries: mpsc::Sender<Query>,
}

/// A part of an incident's log as ready SSE bytes.
#[derive(Debug)]
pub(crate) struct ReplayPage {
    pub(crate) bytes: Bytes,
    /// The last `seq` in it, or the one asked from; never beyond the log's end.
    pub(crate) last: u64,
    /// There is another page after it.
    pub(crate) more: bool,
    /// The incident was closed before this page was read.
    pub(crate) closed: bool,
}

/// A query that was sent and not answered yet.
pub(crate) type PendingRead<T> = oneshot::Receiver<rusqlite::Result<T>>;

impl Reader {
    pub(crate) fn start(at: StoreLocation) -> Reader {
        let (queries, mut waiting) = mpsc::channel::<Query>(QUERIES_MAX);
        let answer = move || match at.open_reader() {
            Ok(connection) => {
                while let Some(query) = waiting.blocking_recv() {
                    query(&connection);
                }
            }
            Err(error) => tracing::error!(%error, "the incident log cannot be opened for reading"),
        };
        let thread = std::thread::Builder::new().name("log-reader".to_owned());
        if let Err(error) = thread.spawn(answer) {
            tracing::error!(%error, "cannot start the thread that reads the incident log");
        }
        Reader { queries }
    }

    /// Sends a query and waits for its result.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LogError> {
        let (query, pending) = boxed(query);
        let asked = async {
            let sent = self.queries.send(query).await;
            sent.map_err(|_| LogError::Stopped)?;
            receive(pending).await
        };
        tokio::time::timeout(QUERY_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_| Err(unreadable("no answer within 10 s")))
    }

    pub(crate) async fn replay_page(
        &self,
        number: i64,
        after: u64,
    ) -> Result<ReplayPage, LogError> {
        self.ask(move |connection| read_replay_page(connection, number, after))
            .await
    }

    /// Asks for the page that is needed next; `None` if other queries are waiting.
    pub(crate) fn prefetch_page(&self, number: i64, after: u64) -> Option<PendingRead<ReplayPage>> {
        let (query, pending) = boxed(move |connection| read_replay_page(connection, number, after));
        self.queries.try_send(query).ok().map(|()| pending)
    }
}

fn boxed<T: Send + 'static>(
    query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> (Query, PendingRead<T>) {
    let (reply, pending) = oneshot::channel();
    let query = Box::new(move |connection: &Connection| drop(reply.send(query(connection))));
    (query, pending)
}

/// Waits for the result of a query.
pub(crate) async fn receive<T>(pending: PendingRead<T>) -> Result<T, LogError> {
    let read = pending.await.map_err(|_| LogError::Stopped)?;
    read.map_err(|error| match error {
        // It names the event itself; the column does not help.
        rusqlite::Error::FromSqlConversionFailure(_, _, error) => unreadable(&error.to_string()),
        error => unreadable(&error.to_string()),
    })
}

fn unreadable(reason: &str) -> LogError {
    LogError::Unreadable {
        reason: reason.to_owned(),
    }
}

fn read_replay_page(
    connection: &Connection,
    number: i64,
    after: u64,
) -> rusqlite::Result<ReplayPage> {
    // The row is read before the events: if it says "closed", they are all there.
    let row = "SELECT head, closed_at IS NOT NULL FROM incident WHERE number = ?1";
    let (head, closed) = connection.prepare_cached(row)?.query_row([number], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
    })?;
    let (mut last, mut more) = (after.min(head), false);
    let mut bytes = Vec::new();
    for_each(connection, EventRange::after(number, last), |event| {
        if bytes.len() >= PAGE_BYTES {
            more = true;
            return Ok(ControlFlow::Break(()));
        }
        if bytes.capacity() == 0 {
            bytes.reserve(PAGE_BYTES + 4096);
        }
        last = event.seq;
        canonical::sse(&mut bytes, event.seq, event.json, event.hash);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(ReplayPage {
        bytes: Bytes::from(bytes),
        last,
        more,
        closed,
    })
}
