//! What the writer is asked to do, and how callers are answered.

use rusqlite::Error as StoreError;
use tokio::sync::oneshot;

use super::apply::{Applied, ApplyError, Batch};
use super::schema;
use crate::canonical::{Encoded, StateChange};
use crate::error::LogError;
use breakglass_model::IncidentId;

/// Where the answer to a command goes. A caller that no longer waits only misses the answer.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// A command for the writer.
pub(crate) enum Command {
    /// Creates an incident with its first event.
    Open {
        incident: IncidentId,
        target: String,
        drill: bool,
        body: Encoded,
        reply: Reply<u64>,
    },
    /// Appends an event.
    Append {
        incident: IncidentId,
        body: Encoded,
        reply: Reply<u64>,
    },
    /// Stores a key, unless it is there.
    Remember {
        key: String,
        value: String,
        reply: Reply<Option<String>>,
    },
    /// Tries whether the store can be written again.
    ProbeWrite,
    /// Checks whether retention has to remove something.
    RunRetention,
}

/// The result of a command inside its transaction; valid once that is committed.
pub(super) enum Outcome {
    Event(Applied, Reply<u64>),
    Remembered(Option<String>, Reply<Option<String>>),
    Rejected(LogError, Reply<u64>),
    RunRetention,
    Nothing,
}

impl Outcome {
    /// Whether retention may have something to remove now.
    pub(super) fn wakes_retention(&self) -> bool {
        match self {
            Outcome::Event(event, _) => event.change == StateChange::IncidentClosed,
            Outcome::RunRetention => true,
            _ => false,
        }
    }

    pub(super) fn incident(&self) -> Option<IncidentId> {
        match self {
            Outcome::Event(event, _) => Some(event.incident),
            _ => None,
        }
    }

    /// Answers a command whose transaction was rolled back.
    pub(super) fn roll_back(self, reason: &str) {
        match self {
            Outcome::Event(_, reply) => drop(reply.send(Err(unwritable(reason)))),
            Outcome::Remembered(_, reply) => drop(reply.send(Err(unwritable(reason)))),
            Outcome::Rejected(error, reply) => drop(reply.send(Err(error))),
            Outcome::RunRetention | Outcome::Nothing => {}
        }
    }
}

impl Command {
    /// Applies the command in the transaction of `batch`. If the store fails, the command is answered and the batch
    /// has to be rolled back.
    pub(super) fn apply(self, batch: &mut Batch<'_>) -> Result<Outcome, StoreError> {
        match self {
            Command::Open {
                incident,
                target,
                drill,
                body,
                reply,
            } => {
                let opened = batch.open(incident, &target, drill);
                let appended = opened.and_then(|()| batch.append(incident, &body));
                event(appended, reply)
            }
            Command::Append {
                incident,
                body,
                reply,
            } => event(batch.append(incident, &body), reply),
            Command::Remember { key, value, reply } => match batch.remember(&key, &value) {
                Ok(known) => Ok(Outcome::Remembered(known, reply)),
                Err(error) => failed(error, reply),
            },
            Command::ProbeWrite => schema::probe_write(batch.connection).map(|()| Outcome::Nothing),
            Command::RunRetention => Ok(Outcome::RunRetention),
        }
    }

    /// Answers a command that was not applied because the store failed before.
    pub(super) fn refuse(self, reason: &str) {
        match self {
            Command::Open { reply, .. } | Command::Append { reply, .. } => {
                drop(reply.send(Err(unwritable(reason))));
            }
            Command::Remember { reply, .. } => drop(reply.send(Err(unwritable(reason)))),
            Command::ProbeWrite | Command::RunRetention => {}
        }
    }
}

fn event(applied: Result<Applied, ApplyError>, reply: Reply<u64>) -> Result<Outcome, StoreError> {
    match applied {
        Ok(event) => Ok(Outcome::Event(event, reply)),
        Err(ApplyError::Rejected(error)) => Ok(Outcome::Rejected(error, reply)),
        Err(ApplyError::Store(error)) => failed(error, reply),
    }
}

/// Answers the command during which the store failed.
fn failed<T>(error: StoreError, reply: Reply<T>) -> Result<Outcome, StoreError> {
    let _ = reply.send(Err(unwritable(&error.to_string())));
    Err(error)
}

fn unwritable(reason: &str) -> LogError {
    LogError::Unwritable {
        reason: reason.to_owned(),
    }
}
