//! Access to one incident's log, with a time limit.

use std::time::Duration;

use breakglass_log::{Log, LogError};
use breakglass_model::{Actor, EventBody, Frame, IncidentId};
use thiserror::Error;
use tokio::time::timeout;

use super::history::{self, History};
use super::summary::Summary;
use crate::PromptError;

/// Maximum time for the log to acknowledge an event.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads and writes one incident's log.
#[derive(Clone)]
pub(super) struct Recorder {
    log: Log,
    incident: IncidentId,
}

/// Why an event was not recorded.
#[derive(Debug, Error)]
pub(super) enum RecordError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the log did not answer within {} s", LOG_TIMEOUT.as_secs())]
    Timeout,
}

impl From<RecordError> for PromptError {
    fn from(error: RecordError) -> PromptError {
        match error {
            RecordError::Log(error) => PromptError::Unrecorded(error),
            RecordError::Timeout => PromptError::Unavailable(format!(
                "The prompt could not be recorded, so the agent was not started: {error}."
            )),
        }
    }
}

impl Recorder {
    pub(super) fn new(log: Log, incident: IncidentId) -> Recorder {
        Recorder { log, incident }
    }

    /// Appends durably.
    pub(super) async fn append(&self, actor: Actor, body: EventBody) -> Result<(), RecordError> {
        match timeout(LOG_TIMEOUT, self.log.append(self.incident, actor, body)).await {
            Ok(appended) => Ok(appended.map(|_| ())?),
            Err(_) => Err(RecordError::Timeout),
        }
    }

    /// Appends if possible, and reports it if not.
    pub(super) async fn record(&self, actor: Actor, body: EventBody) {
        self.log.record(self.incident, actor, body).await;
    }

    pub(super) fn show(&self, frame: Frame) {
        self.log.publish(self.incident, frame);
    }

    pub(super) async fn summary(&self) -> Result<Summary, RecordError> {
        match timeout(LOG_TIMEOUT, history::summary(&self.log, self.incident)).await {
            Ok(summary) => Ok(summary?),
            Err(_) => Err(RecordError::Timeout),
        }
    }

    pub(super) async fn history(&self) -> Result<History, RecordError> {
        match timeout(LOG_TIMEOUT, History::read(&self.log, self.incident)).await {
            Ok(history) => Ok(history?),
            Err(_) => Err(RecordError::Timeout),
        }
    }
}
