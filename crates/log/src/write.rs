//! Writes to the log: durable appends, and records of verbs, which never wait for a failing store.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::canonical::Encoded;
use crate::completion::Completion;
use crate::follow::Unrecorded;
use crate::options::MAX_KEY_BYTES;
use crate::store::Command;
use crate::{Log, LogError};
use breakglass_model::{Actor, EventBody, Frame, IncidentId, Level, Time};

/// How long an append waits for its acknowledgement.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a verb waits for its record.
const RECORD_TIMEOUT: Duration = Duration::from_secs(2);

impl Log {
    /// Begins an incident's log. If the log is kept in memory because its file cannot be used, the second event is a
    /// notice about that.
    ///
    /// # Errors
    /// [`LogError`] if it could not be made durable.
    pub async fn open_incident(
        &self,
        target: &str,
        actor: Actor,
        drill: bool,
    ) -> Result<IncidentId, LogError> {
        let incident = Uuid::now_v7();
        let target = target.to_owned();
        let first = EventBody::IncidentOpened {
            target: target.clone(),
            drill,
        };
        let body = Encoded::new(&actor, &first)?;
        self.command(|reply| Command::Open {
            incident,
            target,
            drill,
            body,
            reply,
        })
        .await?;
        if let Some(reason) = self.0.shared.health.since_start() {
            let notice = EventBody::Notice {
                level: Level::Error,
                code: "record_degraded".to_owned(),
                message: reason.to_owned(),
            };
            self.append(incident, Actor::System, notice).await?;
        }
        Ok(incident)
    }

    /// Appends an event and returns its `seq`. Once this returns, the event survives `kill -9`.
    ///
    /// # Errors
    /// [`LogError`]: the event is not in the log, unless the error says that no answer came in time.
    pub async fn append(
        &self,
        incident: IncidentId,
        actor: Actor,
        body: EventBody,
    ) -> Result<u64, LogError> {
        self.write(incident, Encoded::new(&actor, &body)?).await
    }

    /// Records an event of a person's verb. Never fails, and waits 2 s at most, or not at all while the store is known
    /// to fail. An event that cannot be appended is written as a JSON line to standard error and sent to attached
    /// readers as [`Frame::Unrecorded`].
    pub async fn record(&self, incident: IncidentId, actor: Actor, body: EventBody) {
        let encoded = Encoded::new(&actor, &body);
        let completion = encoded.as_ref().map_or_else(
            |_| Completion::of(&body),
            |encoded| encoded.completion.clone(),
        );
        let reason = match (self.0.shared.health.failing(), encoded) {
            (Some(reason), _) => reason,
            (None, Err(error)) => error.to_string(),
            (None, Ok(encoded)) => match self.write_soon(incident, encoded).await {
                Ok(()) => return,
                Err(reason) => reason,
            },
        };
        self.0.shared.completions.report(completion.as_ref());
        self.report_unrecorded(incident, actor, body, &reason);
    }

    async fn write_soon(&self, incident: IncidentId, body: Encoded) -> Result<(), String> {
        match tokio::time::timeout(RECORD_TIMEOUT, self.write(incident, body)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                let reason = "the store gave no answer within 2 s";
                self.0.shared.health.fail(reason, Time::now());
                self.0.shared.metrics.failed();
                Err(reason.to_owned())
            }
        }
    }

    fn report_unrecorded(&self, incident: IncidentId, actor: Actor, body: EventBody, reason: &str) {
        let shared = &self.0.shared;
        shared.health.lose(incident);
        shared.metrics.unrecorded();
        let at = Time::now();
        let line = serde_json::json!({
            "unrecorded": reason, "incident": incident, "at": at, "actor": actor, "event": body,
        });
        self.0.unrecorded.send(format!("{line}\n").into_bytes());
        // An error means that there is no subscriber.
        let _ = shared.unrecorded.send(Unrecorded {
            incident,
            at,
            actor: actor.clone(),
            body: body.clone(),
        });
        let frame = Frame::Unrecorded { at, actor, body };
        shared.live.publish_frame(incident, &frame);
        // The writer may be waiting for work: it has to probe the store.
        if let Ok(commands) = self.commands() {
            let _ = commands.try_send(Command::ProbeWrite);
        }
    }

    /// Remembers a key for 24 hours, across restarts. `None`: the key was new and is stored with `value`. `Some`: the
    /// value that was stored with it before; nothing changed.
    ///
    /// # Errors
    /// [`LogError`] if it could not be made durable, or is larger than [`MAX_KEY_BYTES`].
    pub async fn remember(&self, key: &str, value: &str) -> Result<Option<String>, LogError> {
        let bytes = key.len().max(value.len());
        if bytes > MAX_KEY_BYTES {
            return Err(LogError::TooLarge {
                what: "idempotency key",
                bytes,
                limit: MAX_KEY_BYTES,
            });
        }
        let key = key.to_owned();
        let value = value.to_owned();
        self.command(|reply| Command::Remember { key, value, reply })
            .await
    }

    /// Makes retention check whether something has to be removed, as it does at the start and whenever an incident is
    /// closed. Call it when time has passed; it returns at once.
    pub fn run_retention(&self) {
        // If the queue is full, the writer checks soon anyway.
        if let Ok(commands) = self.commands() {
            let _ = commands.try_send(Command::RunRetention);
        }
    }

    async fn write(&self, incident: IncidentId, body: Encoded) -> Result<u64, LogError> {
        let asked = Instant::now();
        let metrics = &self.0.shared.metrics;
        let append = |reply| Command::Append {
            incident,
            body,
            reply,
        };
        let written = self.command(append).await;
        match &written {
            Ok(_) => metrics.appended(asked.elapsed()),
            Err(LogError::Unwritable { .. } | LogError::Stopped) => metrics.failed(),
            // The log works; the request was invalid.
            Err(_) => {}
        }
        written
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Command,
    ) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands()?;
        let sent = async {
            let sent = commands.send(command(reply)).await;
            sent.map_err(|_| LogError::Stopped)?;
            drop(commands);
            answer.await.unwrap_or(Err(LogError::Stopped))
        };
        let late = || LogError::Unwritable {
            reason: "the store gave no answer within 10 s".to_owned(),
        };
        tokio::time::timeout(APPEND_TIMEOUT, sent)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    fn commands(&self) -> Result<mpsc::Sender<Command>, LogError> {
        self.0.commands.lock().clone().ok_or(LogError::Stopped)
    }
}
