use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::apply::{Applied, Batch, Fault, Head};
use super::keeper::{Keeper, Step};
use super::{Registry, schema};
use crate::canonical::{self, Effect, Encoded};
use crate::ended::Endings;
use crate::error::LogError;
use crate::figures::Figures;
use crate::follow::Unrecorded;
use crate::health::{Failure, Health};
use crate::live::Hub;
use crate::outlet::Outlet;
use breakglass_model::Actor;
use breakglass_model::clock;
use breakglass_model::{EventBody, IncidentId, Level};

/// The most commands in one transaction.
const MAX_BATCH: usize = 512;
/// The most heads kept in memory; beyond it they are read again.
const MAX_HEADS: usize = 1024;
/// How often a failing store is tried.
const BEAT: Duration = Duration::from_millis(500);
/// How often a failing store's queue is looked at.
const GLANCE: Duration = Duration::from_millis(5);
/// The most open incidents that are told of a failure that is over.
const MAX_NOTICES: usize = 256;

type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// What the writer is asked to do.
pub(crate) enum Command {
    Open {
        incident: IncidentId,
        target: String,
        drill: bool,
        body: Encoded,
        reply: Reply<u64>,
    },
    Append {
        incident: IncidentId,
        body: Encoded,
        reply: Reply<u64>,
    },
    Remember {
        key: String,
        value: String,
        reply: Reply<Option<String>>,
    },
    /// Look whether the store can be written again.
    Beat,
    /// Look whether retention has something to do.
    Tend,
}

/// What happened to a command inside its transaction; holds until the commit.
enum Outcome {
    Event(Applied, Reply<u64>),
    Remembered(Option<String>, Reply<Option<String>>),
    Refused(LogError, Reply<u64>),
    Tend,
    Nothing,
}

/// What the writer shares with the rest of the journal.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) health: Health,
    pub(crate) registry: Registry,
    pub(crate) shipping: Option<Outlet>,
    pub(crate) figures: Figures,
    pub(crate) endings: Endings,
    /// Moves with every batch that is committed.
    pub(crate) appended: watch::Sender<u64>,
    /// What could not be recorded, for whoever follows it.
    pub(crate) unrecorded: broadcast::Sender<Unrecorded>,
}

/// The one thread that writes the log.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) shared: Arc<Shared>,
    heads: HashMap<IncidentId, Head>,
    /// SQLite's count of other connections' writes: when it moves, the heads may be stale.
    foreign: i64,
    keeper: Keeper,
    /// What the store fails with is that it is full.
    full: bool,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        commands: mpsc::Receiver<Command>,
        shared: Arc<Shared>,
        keeper: Keeper,
    ) -> Writer {
        Writer {
            connection,
            commands,
            shared,
            heads: HashMap::new(),
            foreign: 0,
            keeper,
            full: false,
        }
    }

    /// Writes until every sender is gone and the queue is empty, and leaves one whole file behind:
    /// a copy that somebody takes of it then holds everything.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.next() {
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH {
                let Ok(command) = self.commands.try_recv() else {
                    break;
                };
                batch.push(command);
            }
            self.write(batch);
            // A queue that is never empty must not fill the store while there is something to remove.
            if self.keeper.pressed {
                self.tend();
            }
        }
        if let Err(error) = schema::fold(&self.connection) {
            tracing::warn!(%error, "the newest events stay in the file beside the incident log");
        }
    }

    fn next(&mut self) -> Option<Command> {
        if self.shared.health.failing().is_none() {
            return self.next_while_sound();
        }
        if self.full {
            self.tend();
        }
        let beat = Instant::now() + BEAT;
        while Instant::now() < beat {
            match self.commands.try_recv() {
                Ok(command) => return Some(command),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => std::thread::sleep(GLANCE),
            }
        }
        Some(Command::Beat)
    }

    /// The next command; retention takes its steps while there is none.
    fn next_while_sound(&mut self) -> Option<Command> {
        while self.keeper.restless {
            match self.commands.try_recv() {
                Ok(command) => return Some(command),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => self.tend(),
            }
        }
        self.commands.blocking_recv()
    }

    /// One step of retention. What fails is tried again when there is a new reason to.
    fn tend(&mut self) {
        match self.keeper.step(&mut self.connection) {
            Ok(Step::Removed(gone)) => {
                self.shared.registry.remove(gone.incident);
                self.heads.remove(&gone.incident);
                tracing::info!(
                    incident = %gone.incident, target = gone.target, events = gone.events,
                    closed_at = gone.closed_at, head_hash = gone.head_hash, reason = ?gone.reason,
                    "retention removed an incident"
                );
            }
            Ok(Step::Purged | Step::Nothing) => {}
            Err(error) => tracing::warn!(%error, "retention could not remove anything"),
        }
    }

    fn write(&mut self, batch: Vec<Command>) {
        let mut outcomes = Vec::with_capacity(batch.len());
        match self.transact(batch, &mut outcomes) {
            Ok(()) => {
                self.keeper.weigh(&self.connection);
                self.full = false;
                if outcomes.iter().any(Outcome::stirs_retention) {
                    self.keeper.wake();
                }
                outcomes
                    .into_iter()
                    .for_each(|outcome| self.acknowledge(outcome));
                let appended = &self.shared.appended;
                appended.send_modify(|count| *count = count.wrapping_add(1));
                if let Some(failure) = self.shared.health.restore() {
                    self.tell_restored(&failure);
                }
            }
            Err((error, unapplied)) => {
                self.heads.clear();
                self.full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
                if self.full {
                    self.keeper.wake();
                    self.keeper.weigh(&self.connection);
                }
                let reason = error.to_string();
                self.tell_failing(&reason);
                let fallen = unapplied.into_iter().map(refuse(&reason));
                outcomes
                    .into_iter()
                    .map(|outcome| fall(outcome, &reason))
                    .chain(fallen)
                    .for_each(drop);
            }
        }
    }

    /// One transaction; on failure, the error and the commands that were not reached.
    fn transact(
        &mut self,
        batch: Vec<Command>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), (rusqlite::Error, Vec<Command>)> {
        let mut waiting = batch.into_iter();
        let done = self.try_transact(&mut waiting, outcomes);
        done.map_err(|error| (error, waiting.collect()))
    }

    fn try_transact(
        &mut self,
        waiting: &mut std::vec::IntoIter<Command>,
        outcomes: &mut Vec<Outcome>,
    ) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let foreign = transaction.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if foreign != self.foreign || self.heads.len() > MAX_HEADS {
            self.heads.clear();
        }
        let mut batch = Batch {
            connection: &transaction,
            heads: self.heads.clone(),
            at: clock::now(),
        };
        for command in waiting.by_ref() {
            outcomes.push(apply(&mut batch, command)?);
        }
        let mut touched: Vec<IncidentId> = outcomes.iter().filter_map(Outcome::incident).collect();
        touched.sort_unstable();
        touched.dedup();
        batch.write_heads(touched.into_iter())?;
        let heads = batch.heads;
        transaction.commit()?;
        (self.heads, self.foreign) = (heads, foreign);
        Ok(())
    }

    fn acknowledge(&self, outcome: Outcome) {
        // A caller that no longer waits has lost nothing but the answer.
        match outcome {
            Outcome::Event(event, reply) => {
                self.show(&event);
                let _ = reply.send(Ok(event.seq));
            }
            Outcome::Remembered(known, reply) => drop(reply.send(Ok(known))),
            Outcome::Refused(error, reply) => drop(reply.send(Err(error))),
            Outcome::Tend | Outcome::Nothing => {}
        }
    }

    fn show(&self, event: &Applied) {
        self.shared.figures.committed(event.kind);
        self.shared.endings.tell(event.ended.as_ref());
        let canonical = event.canonical.as_bytes();
        if event.seq == 1
            && let Some(head) = self.heads.get(&event.incident)
        {
            self.shared.registry.enter(event.incident, head.number);
        }
        let ends = event.effect == Effect::Closes;
        self.shared.hub.show(
            event.incident,
            event.seq,
            event.effect.clears(),
            ends,
            || {
                let mut frame = Vec::with_capacity(canonical.len() + 128);
                canonical::sse(&mut frame, event.seq, canonical, &event.hash);
                Bytes::from(frame)
            },
        );
        if let Some(shipping) = &self.shared.shipping {
            shipping.send(canonical::shipped(event.incident, canonical, &event.hash));
        }
    }

    fn tell_failing(&self, reason: &str) {
        if !self.shared.health.fail(reason, clock::now()) {
            return;
        }
        tracing::error!(reason, "the incident log cannot be written");
        if let Some(warning) = self.shared.health.warning() {
            self.shared.hub.pass_to_all(&warning);
        }
    }

    fn tell_restored(&mut self, failure: &Failure) {
        tracing::info!(
            since = failure.since,
            "the incident log can be written again"
        );
        let notices = self
            .open_incidents()
            .unwrap_or_default()
            .into_iter()
            .filter_map(|incident| {
                let body = Encoded::new(&Actor::System, &restored(failure, incident)).ok()?;
                Some(Command::Append {
                    incident,
                    body,
                    reply: oneshot::channel().0,
                })
            });
        let notices: Vec<Command> = notices.collect();
        if !notices.is_empty() {
            self.write(notices);
        }
    }

    fn open_incidents(&self) -> rusqlite::Result<Vec<IncidentId>> {
        let open = format!(
            "SELECT id FROM incident WHERE closed_at IS NULL ORDER BY number DESC LIMIT {MAX_NOTICES}"
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
        "The record could not be written from {since} until now: {reason}. \
         {lost} events of this incident are on the server's standard error only."
    );
    EventBody::Notice {
        level: Level::Warning,
        code: "record_restored".to_owned(),
        message,
    }
}

fn apply(batch: &mut Batch<'_>, command: Command) -> rusqlite::Result<Outcome> {
    let (applied, reply) = match command {
        Command::Open {
            incident,
            target,
            drill,
            body,
            reply,
        } => (
            batch
                .open(incident, &target, drill)
                .and_then(|()| batch.append(incident, &body)),
            reply,
        ),
        Command::Append {
            incident,
            body,
            reply,
        } => (batch.append(incident, &body), reply),
        Command::Remember { key, value, reply } => {
            return match batch.remember(&key, &value) {
                Ok(known) => Ok(Outcome::Remembered(known, reply)),
                Err(Fault::Store(error)) => fell(error, reply),
                Err(Fault::Command(_)) => Ok(Outcome::Nothing),
            };
        }
        Command::Beat => return schema::beat(batch.connection).map(|()| Outcome::Nothing),
        Command::Tend => return Ok(Outcome::Tend),
    };
    match applied {
        Ok(event) => Ok(Outcome::Event(event, reply)),
        Err(Fault::Command(error)) => Ok(Outcome::Refused(error, reply)),
        Err(Fault::Store(error)) => fell(error, reply),
    }
}

fn unwritable(reason: &str) -> LogError {
    LogError::Unwritable {
        reason: reason.to_owned(),
    }
}

/// Answers the command that the store failed on.
fn fell<T>(error: rusqlite::Error, reply: Reply<T>) -> rusqlite::Result<Outcome> {
    let _ = reply.send(Err(unwritable(&error.to_string())));
    Err(error)
}

/// Answers a command that was applied in a transaction that fell.
fn fall(outcome: Outcome, reason: &str) {
    match outcome {
        Outcome::Event(_, reply) => drop(reply.send(Err(unwritable(reason)))),
        Outcome::Remembered(_, reply) => drop(reply.send(Err(unwritable(reason)))),
        Outcome::Refused(error, reply) => drop(reply.send(Err(error))),
        Outcome::Tend | Outcome::Nothing => {}
    }
}

/// Answers a command that was not reached.
fn refuse(reason: &str) -> impl Fn(Command) + '_ {
    move |command| match command {
        Command::Open { reply, .. } | Command::Append { reply, .. } => {
            drop(reply.send(Err(unwritable(reason))));
        }
        Command::Remember { reply, .. } => drop(reply.send(Err(unwritable(reason)))),
        Command::Beat | Command::Tend => {}
    }
}

impl Outcome {
    /// Whether there may be something to remove after it.
    fn stirs_retention(&self) -> bool {
        match self {
            Outcome::Event(event, _) => event.effect == Effect::Closes,
            Outcome::Tend => true,
            _ => false,
        }
    }

    fn incident(&self) -> Option<IncidentId> {
        match self {
            Outcome::Event(event, _) => Some(event.incident),
            _ => None,
        }
    }
}
