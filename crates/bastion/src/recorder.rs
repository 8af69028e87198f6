//! One command's record. What passes is booked at once and written behind it; where the log does
//! not take it, the command is cut off: the agent is never trusted unrecorded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use breakglass_log::{Log, LogError};
use breakglass_model::{
    Actor, CommandMode, CommandStream, EventBody, IncidentId, Level, TurnNumber,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::book::{Book, Entry};

/// The least time between two writes of one command, so that a drip of bytes makes few events.
const PACE: Duration = Duration::from_millis(40);

/// What is recorded before anything of a command runs.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) turn: TurnNumber,
    pub(crate) tool_call: Option<String>,
    pub(crate) host: String,
    pub(crate) mode: CommandMode,
    pub(crate) text: String,
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<String>,
    pub(crate) message: Option<String>,
}

impl Ended {
    /// With an exit code and a reason of the bastion's own.
    pub(crate) fn because(exit_code: i32, message: impl Into<String>) -> Ended {
        Ended {
            exit_code: Some(exit_code),
            signal: None,
            message: Some(message.into()),
        }
    }
}

/// The record of a command that was begun.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    writer: JoinHandle<Result<(), LogError>>,
    began: Instant,
}

struct Shared {
    log: Log,
    incident: IncidentId,
    command: Uuid,
    book: Mutex<Book>,
    wake: Notify,
    /// Not all of the output can be kept, and nobody was told yet.
    bounded: AtomicBool,
    /// No more will be booked.
    ended: CancellationToken,
    /// The log does not take it.
    failed: CancellationToken,
}

impl Recorder {
    /// Records that `command` is about to begin.
    ///
    /// # Errors
    /// When the log does not take it: then it must not begin.
    pub(crate) async fn begin(
        log: Log,
        incident: IncidentId,
        command: Uuid,
        opening: Opening,
    ) -> Result<Recorder, LogError> {
        let Opening {
            turn,
            tool_call,
            host,
            mode,
            text,
        } = opening;
        let started = EventBody::CommandStarted {
            command,
            turn,
            tool_call,
            host,
            mode,
            text,
        };
        log.append(incident, Actor::Agent, started).await?;
        let shared = Arc::new(Shared {
            log,
            incident,
            command,
            book: Mutex::new(Book::new()),
            wake: Notify::new(),
            bounded: AtomicBool::new(false),
            ended: CancellationToken::new(),
            failed: CancellationToken::new(),
        });
        let writer = tokio::spawn(Arc::clone(&shared).write());
        Ok(Recorder {
            shared,
            writer,
            began: Instant::now(),
        })
    }

    /// Books what passed. Never waits.
    pub(crate) fn take(&self, stream: CommandStream, bytes: &[u8]) {
        if self.shared.book().take(stream, bytes) {
            self.shared.bounded.store(true, Ordering::Relaxed);
        }
        self.shared.wake.notify_one();
    }

    /// Resolves when the log does not take what was booked.
    pub(crate) async fn failed(&self) {
        self.shared.failed.cancelled().await;
    }

    /// Records the rest and the end.
    ///
    /// # Errors
    /// When the log did not take all of it.
    pub(crate) async fn finish(mut self, ended: Ended) -> Result<(), LogError> {
        self.shared.ended.cancel();
        let written = (&mut self.writer).await;
        self.shared.tell_if_bounded().await;
        let (rest, omitted_bytes) =
            std::mem::replace(&mut *self.shared.book(), Book::new()).close();
        self.shared.append(rest).await?;
        let finished = EventBody::CommandFinished {
            command: self.shared.command,
            exit_code: ended.exit_code,
            signal: ended.signal,
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            omitted_bytes,
            message: ended.message,
        };
        let Shared { log, incident, .. } = &*self.shared;
        log.append(*incident, Actor::Agent, finished).await?;
        written.unwrap_or(Ok(()))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(self: Arc<Shared>) -> Result<(), LogError> {
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
            }
            let ready = self.book().ready();
            if let Err(error) = self.append(ready).await {
                self.failed.cancel();
                return Err(error);
            }
            self.tell_if_bounded().await;
            tokio::select! {
                () = self.ended.cancelled() => return Ok(()),
                () = tokio::time::sleep(PACE) => {}
            }
        }
    }

    async fn append(&self, entries: Vec<Entry>) -> Result<(), LogError> {
        for Entry { stream, text, raw } in entries {
            let command = self.command;
            let body = EventBody::CommandOutput {
                command,
                stream,
                text,
                raw,
            };
            self.log.append(self.incident, Actor::Agent, body).await?;
        }
        Ok(())
    }

    async fn tell_if_bounded(&self) {
        if !self.bounded.swap(false, Ordering::Relaxed) {
            return;
        }
        let notice = EventBody::Notice {
            level: Level::Info,
            code: "command_output_bounded".to_owned(),
            message: "A command prints more than is kept: from here on only its last 32 KiB are \
                      kept, and what is between is counted."
                .to_owned(),
        };
        self.log.record(self.incident, Actor::System, notice).await;
    }
}
