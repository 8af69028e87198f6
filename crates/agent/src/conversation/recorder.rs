use std::time::Duration;

use breakglass_log::{Log, LogError};
use breakglass_model::{Actor, EventBody, Frame, IncidentId};
use thiserror::Error;
use tokio::time::timeout;

use super::history::{self, History};
use super::summary::Summary;
use crate::PromptError;

/// How long the log may take to acknowledge an event.
const LIMIT: Duration = Duration::from_secs(10);

/// Writes into one incident's log.
#[derive(Clone)]
pub(super) struct Recorder {
    journal: Log,
    incident: IncidentId,
}

/// Why an event was not recorded.
#[derive(Debug, Error)]
pub(super) enum RecordError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the log did not answer within {} s", LIMIT.as_secs())]
    Late,
}

impl From<RecordError> for PromptError {
    fn from(error: RecordError) -> PromptError {
        match error {
            RecordError::Log(error) => PromptError::Unrecorded(error),
            RecordError::Late => PromptError::Unavailable(format!(
                "The prompt could not be recorded, so the agent was not started: {error}."
            )),
        }
    }
}

impl Recorder {
    pub(super) fn new(journal: Log, incident: IncidentId) -> Recorder {
        Recorder { journal, incident }
    }

    /// Appends durably.
    pub(super) async fn append(&self, actor: Actor, body: EventBody) -> Result<(), RecordError> {
        match timeout(LIMIT, self.journal.append(self.incident, actor, body)).await {
            Ok(appended) => Ok(appended.map(|_| ())?),
            Err(_) => Err(RecordError::Late),
        }
    }

    /// Appends if it can, and makes it known if it cannot.
    pub(super) async fn record(&self, actor: Actor, body: EventBody) {
        self.journal.record(self.incident, actor, body).await;
    }

    pub(super) fn show(&self, frame: Frame) {
        self.journal.publish(self.incident, frame);
    }

    pub(super) async fn summary(&self) -> Result<Summary, RecordError> {
        match timeout(LIMIT, history::summary(&self.journal, self.incident)).await {
            Ok(summary) => Ok(summary?),
            Err(_) => Err(RecordError::Late),
        }
    }

    pub(super) async fn history(&self) -> Result<History, RecordError> {
        match timeout(LIMIT, History::read(&self.journal, self.incident)).await {
            Ok(history) => Ok(history?),
            Err(_) => Err(RecordError::Late),
        }
    }
}
