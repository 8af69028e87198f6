//! The one thread that writes the log: batches commands into transactions, answers them after the commit, and runs
//! retention while there is nothing else to do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::apply::{Batch, Head};
use super::command::{Command, Outcome};
use super::retention_worker::{RetentionWorker, Step};
use super::schema;
use super::shared::Shared;
use crate::canonical::Encoded;
use crate::health::Failure;
use breakglass_model::{Actor, EventBody, IncidentId, Level, Time};

/// Maximum number of commands in one transaction.
const BATCH_MAX: usize = 512;
/// Maximum number of heads kept in memory; beyond it they are read again.
const HEADS_MAX: usize = 1024;
/// Interval of the write probe while the store fails.
const WRITE_PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// How often the queue is polled while the store fails.
const QUEUE_POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Maximum number of open incidents that get a notice when the store can be written again.
const NOTICES_MAX: usize = 256;

/// The writer's state; owned by its thread.
pub(crate) struct Writer {
    connection: Connection,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    heads: HashMap<IncidentId, Head>,
    /// SQLite's count of other connections' writes: when it changes, the heads may be stale.
    data_version: i64,
    retention: RetentionWorker,
    /// The store fails because it is full.
    is_full: bool,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        commands: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
        retention: RetentionWorker,
    ) -> Writer {
        Writer {
            connection,
            commands,
            shared,
            heads: HashMap::new(),
            data_version: 0,
            retention,
            is_full: false,
        }
    }

    /// Writes until every sender is gone and the queue is empty. Afterwards the file alone contains everything, so a
    /// copy of it is complete.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.next() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX {
                let Ok(command) = self.commands.try_recv() else {
                    break;
                };
                batch.push(command);
            }
            self.write(batch);
            // A queue that is never empty must not fill the store while there is something to remove.
            if self.retention.nearly_full {
                self.run_retention();
            }
        }
        if let Err(error) = schema::fold(&self.connection) {
            tracing::warn!(%error, "the newest events stay in the file beside the incident log");
        }
    }

    fn next(&mut self) -> Option<Command> {
        if self.shared.health.failing().is_none() {
            return self.next_while_healthy();
        }
        if self.is_full {
            self.run_retention();
        }
        let probe_at = Instant::now() + WRITE_PROBE_INTERVAL;
        while Instant::now() < probe_at {
            match self.commands.try_recv() {
                Ok(command) => return Some(command),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => std::thread::sleep(QUEUE_POLL_INTERVAL),
            }
        }
        Some(Command::ProbeWrite)
    }

    /// The next command; runs steps of retention while there is none.
    fn next_while_healthy(&mut self) -> Option<Command> {
        while self.retention.has_work {
            match self.commands.try_recv() {
                Ok(command) => return Some(command),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => self.run_retention(),
            }
        }
        self.commands.blocking_recv()
    }

    /// Runs one step of retention. A step that fails is tried again when retention is woken.
    fn run_retention(&mut self) {
        match self.retention.step(&mut self.connection) {
            Ok(Step::Removed(gone)) => {
                self.shared.numbers.remove(gone.incident);
                self.heads.remove(&gone.incident);
                tracing::info!(
                    incident = %gone.incident, target = gone.target, events = gone.events,
                    closed_at = %gone.closed_at, head_hash = gone.head_hash, reason = ?gone.reason,
                    "retention removed an incident"
                );
            }
            Ok(Step::Purged | Step::Nothing) => {}
            Err(error) => tracing::warn!(%error, "retention could not remove anything"),
        }
    }

    fn write(&mut self, batch: Vec<Command>) {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut waiting = batch.into_iter();
        match self.transact(&mut waiting, &mut outcomes) {
            Ok(()) => self.committed(outcomes),
            Err(error) => {
                self.failed(&error);
                let reason = error.to_string();
                outcomes.into_iter().for_each(|it| it.roll_back(&reason));
                waiting.for_each(|it| it.refuse(&reason));
            }
        }
    }

    /// Applies the commands in one transaction; if the store fails, those not reached stay in `waiting`.
    fn transact(
        &mut self,
        waiting: &mut std::vec::IntoIter<Command>,
        outcomes: &mut Vec<Outcome>,
    ) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let data_version =
            transaction.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if data_version != self.data_version || self.heads.len() > HEADS_MAX {
            self.heads.clear();
        }
        let mut batch = Batch {
            connection: &transaction,
            heads: self.heads.clone(),
            at: Time::now().to_string(),
        };
        for command in waiting.by_ref() {
            outcomes.push(command.apply(&mut batch)?);
        }
        let mut touched: Vec<IncidentId> = outcomes.iter().filter_map(Outcome::incident).collect();
        touched.sort_unstable();
        touched.dedup();
        batch.write_heads(touched.into_iter())?;
        let heads = batch.heads;
        transaction.commit()?;
        self.heads = heads;
        self.data_version = data_version;
        Ok(())
    }

    fn committed(&mut self, outcomes: Vec<Outcome>) {
        self.retention.measure(&self.connection);
        self.is_full = false;
        if outcomes.iter().any(Outcome::wakes_retention) {
            self.retention.wake();
        }
        outcomes.into_iter().for_each(|it| self.acknowledge(it));
        let appended = &self.shared.appended;
        appended.send_modify(|count| *count = count.wrapping_add(1));
        if let Some(failure) = self.shared.health.restore() {
            self.report_restored(&failure);
        }
    }

    fn failed(&mut self, error: &rusqlite::Error) {
        self.heads.clear();
        self.is_full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        if self.is_full {
            self.retention.wake();
            self.retention.measure(&self.connection);
        }
        self.shared.report_failing(&error.to_string());
    }

    fn acknowledge(&self, outcome: Outcome) {
        match outcome {
            Outcome::Event(event, reply) => {
                self.shared.publish(&event);
                let _ = reply.send(Ok(event.seq));
            }
            Outcome::Remembered(known, reply) => drop(reply.send(Ok(known))),
            Outcome::Rejected(error, reply) => drop(reply.send(Err(error))),
            Outcome::RunRetention | Outcome::Nothing => {}
        }
    }

    /// Appends a notice to each open incident.
    fn report_restored(&mut self, failure: &Failure) {
        tracing::info!(since = %failure.since, "the incident log can be written again");
        let open = self.open_incidents().unwrap_or_default();
        let notices = open.into_iter().filter_map(|incident| {
            let body = Encoded::new(&Actor::System, &restored(failure, incident)).ok()?;
            let reply = oneshot::channel().0;
            Some(Command::Append {
                incident,
                body,
                reply,
            })
        });
        let notices: Vec<Command> = notices.collect();
        if !notices.is_empty() {
            self.write(notices);
        }
    }

    fn open_incidents(&self) -> rusqlite::Result<Vec<IncidentId>> {
        let open = format!(
            "SELECT id FROM incident WHERE closed_at IS NULL ORDER BY number DESC LIMIT {NOTICES_MAX}"
        );
        self.connection
            .prepare(&open)?
            .query_map([], |row| row.get(0))?
            .collect()
    }
}

fn restored(failure: &Failure, incident: IncidentId) -> EventBody {
    let Failure {
        since,
        reason,
        lost,
    } = failure;
    let lost = lost.get(&incident).copied().unwrap_or(0);
    let message = format!(
        "The incident log could not be written from {since} until now: {reason}. \
         {lost} events of this incident are only on the server's standard error."
    );
    EventBody::Notice {
        level: Level::Warning,
        code: "record_restored".to_owned(),
        message,
    }
}
