//! Closes an incident's log, after which nothing is recorded in it any more.

use std::time::Duration;

use breakglass_log::LogError;
use breakglass_model::{Actor, EventBody, IncidentId, Level, OperationId};

use crate::control::Control;
use crate::power::placement;

/// Longest wait for an operation that is just being placed in an incident.
const PLACEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The code of the notice that keeps a target's last vital signs when its incident is closed: vital signs are
/// not events, and a report has to state how the incident ended.
pub const LAST_MEASURED: &str = "last_measured";

/// Why an incident was not closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseRefusal {
    /// An operation is recorded in it.
    #[error(
        "{what} is running and is recorded in this incident; wait for it to end before closing, or \
         watch operation {operation}"
    )]
    Busy {
        /// The running operation.
        operation: OperationId,
        /// Its verb or diagnosis.
        what: String,
    },
    /// The log refused.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Control {
    /// Closes `incident`, which concerns `target`, unless a running operation is recorded in it. An operation
    /// that starts at the same moment either prevents the closing or is placed in another incident, so
    /// nothing is lost.
    ///
    /// # Errors
    /// See [`CloseRefusal`].
    pub async fn close(
        &self,
        target: &str,
        incident: IncidentId,
        actor: &Actor,
    ) -> Result<(), CloseRefusal> {
        // A target that is not configured any more has no operations.
        let target = self.target(target).ok();
        let _lock = match target {
            Some(target) => Some(
                placement::lock(target, PLACEMENT_TIMEOUT)
                    .await
                    .ok_or_else(placement_timed_out)?,
            ),
            None => None,
        };
        for operation in self.shared.operations.running() {
            let view = operation.view();
            if view.incident == Some(incident) {
                return Err(CloseRefusal::Busy {
                    operation: view.operation,
                    what: view.verb,
                });
            }
        }
        let log = &self.shared.log;
        if let Some(summary) = target.and_then(|target| target.vitals.summary()) {
            let notice = EventBody::Notice {
                level: Level::Info,
                code: LAST_MEASURED.to_owned(),
                message: format!("Last measured before the incident was closed: {summary}."),
            };
            // A log that refuses this refuses the closing as well, with the reason.
            let _ = log.append(incident, Actor::System, notice).await;
        }
        let closed = EventBody::IncidentClosed {};
        log.append(incident, actor.clone(), closed).await?;
        Ok(())
    }

    /// The target's vital signs with their times, as part of a sentence; `None` if it was never probed.
    #[must_use]
    pub fn vitals_summary(&self, target: &str) -> Option<String> {
        self.target(target).ok()?.vitals.summary()
    }
}

fn placement_timed_out() -> CloseRefusal {
    let reason = "an operation could not be assigned to an incident in time".to_owned();
    CloseRefusal::Log(LogError::Unwritable { reason })
}
