//! Ending an incident's log, which nothing may write into any more from then on.

use std::time::Duration;

use breakglass_journal::{Actor, EventBody, IncidentId, JournalError, OperationId};
use tokio::time::timeout;

use crate::control::Control;

/// Longest wait for an operation that is just finding its incident.
const LIMIT: Duration = Duration::from_secs(5);

/// Why an incident was not closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseRefusal {
    /// An operation writes into its log.
    #[error(
        "{what} is running and writes into this incident; wait for its end and close then, or \
         watch operation {operation}"
    )]
    Busy {
        /// What runs.
        operation: OperationId,
        /// Its verb or check.
        what: String,
    },
    /// The log refuses.
    #[error(transparent)]
    Log(#[from] JournalError),
}

impl Control {
    /// Closes `incident`, which is about `target`, unless an operation writes into it. One that
    /// begins at the same moment either refuses the closing or goes into another incident, so
    /// nothing that happens is lost.
    ///
    /// # Errors
    /// See [`CloseRefusal`].
    pub async fn close(
        &self,
        target: &str,
        incident: IncidentId,
        actor: &Actor,
    ) -> Result<(), CloseRefusal> {
        let station = self.station(target).ok();
        let _no_newcomer = match station {
            Some(station) => Some(
                timeout(LIMIT, station.opening.lock())
                    .await
                    .map_err(|_| late())?,
            ),
            // A target that is not configured any more has no operations.
            None => None,
        };
        for running in self.inner.table.running() {
            let view = running.view();
            if view.incident == Some(incident) {
                let (operation, what) = (view.operation, view.verb);
                return Err(CloseRefusal::Busy { operation, what });
            }
        }
        let closing = EventBody::IncidentClosed {};
        let journal = &self.inner.journal;
        journal.append(incident, actor.clone(), closing).await?;
        Ok(())
    }
}

fn late() -> CloseRefusal {
    let reason = "an operation did not find its place in it in time".to_owned();
    CloseRefusal::Log(JournalError::Unwritable { reason })
}
