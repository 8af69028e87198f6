//! Records one command. Output is captured at once and written to the log afterwards. If the log does not
//! accept it, the command is ended: the agent may do nothing unrecorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use breakglass_log::{Log, LogError};
use breakglass_model::{
    Actor, CommandMode, CommandStream, EventBody, IncidentId, Level, TurnNumber,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::capture::{CapturedRun, StreamCapture};

/// Minimum interval between two writes of one command, so that a slow stream makes few events.
const WRITE_INTERVAL_MIN: Duration = Duration::from_millis(40);

/// What is recorded before a command starts.
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
    /// Ended by the bastion, with a reason.
    pub(crate) fn because(exit_code: i32, message: impl Into<String>) -> Ended {
        Ended {
            exit_code: Some(exit_code),
            signal: None,
            message: Some(message.into()),
        }
    }
}

/// Records a command that was started.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    writer: JoinHandle<Result<(), LogError>>,
    began: Instant,
}

struct Shared {
    log: Log,
    incident: IncidentId,
    command: Uuid,
    capture: Mutex<StreamCapture>,
    wake: Notify,
    /// Output was omitted, and that is not recorded yet.
    has_new_omission: AtomicBool,
    /// Nothing more will be captured.
    ended: CancellationToken,
    /// The log did not accept the output.
    failed: CancellationToken,
}

impl Recorder {
    /// Records that `command` is about to start.
    ///
    /// # Errors
    /// When the log does not accept it: then the command must not start.
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
            capture: Mutex::new(StreamCapture::new()),
            wake: Notify::new(),
            has_new_omission: AtomicBool::new(false),
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

    /// Captures bytes. Never waits.
    pub(crate) fn add(&self, stream: CommandStream, bytes: &[u8]) {
        if self.shared.capture().take(stream, bytes) {
            self.shared.has_new_omission.store(true, Ordering::Relaxed);
        }
        self.shared.wake.notify_one();
    }

    /// Returns when the log has failed to accept the output.
    pub(crate) async fn failed(&self) {
        self.shared.failed.cancelled().await;
    }

    /// Records the rest of the output, and the end.
    ///
    /// # Errors
    /// When the log did not accept all of it.
    pub(crate) async fn finish(mut self, ended: Ended) -> Result<(), LogError> {
        self.shared.ended.cancel();
        let written = (&mut self.writer).await;
        self.shared.report_omission().await;
        let (rest, omitted_bytes) =
            std::mem::replace(&mut *self.shared.capture(), StreamCapture::new()).close();
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
    fn capture(&self) -> MutexGuard<'_, StreamCapture> {
        self.capture.lock()
    }

    async fn write(self: Arc<Shared>) -> Result<(), LogError> {
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
            }
            let ready = self.capture().ready();
            if let Err(error) = self.append(ready).await {
                self.failed.cancel();
                return Err(error);
            }
            self.report_omission().await;
            tokio::select! {
                () = self.ended.cancelled() => return Ok(()),
                () = tokio::time::sleep(WRITE_INTERVAL_MIN) => {}
            }
        }
    }

    async fn append(&self, runs: Vec<CapturedRun>) -> Result<(), LogError> {
        for CapturedRun { stream, text, raw } in runs {
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

    async fn report_omission(&self) {
        if !self.has_new_omission.swap(false, Ordering::Relaxed) {
            return;
        }
        let notice = EventBody::Notice {
            level: Level::Info,
            code: "command_output_bounded".to_owned(),
            message:
                "A command prints more than the log keeps: from here on only its last 32 KiB are \
                      kept, and the bytes between are counted."
                    .to_owned(),
        };
        self.log.record(self.incident, Actor::System, notice).await;
    }
}
