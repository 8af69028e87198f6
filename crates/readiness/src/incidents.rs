//! Changes of readiness in the logs of the incidents that they concern.

use breakglass_log::{Log, LogError};
use breakglass_model::{Actor, EventBody, IncidentId};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Change;
use super::check::target_of;

/// Appends each change to the open incidents of its target, or where it has none, to all open ones.
/// Ends with the sender of the changes, or when it is dropped.
pub async fn tell_incidents(mut changes: Receiver<Change>, log: Log) {
    loop {
        match changes.recv().await {
            Ok(change) => match concerned(&log, &change).await {
                Ok(incidents) => append(&log, incidents, &change).await,
                Err(error) => {
                    let check = &change.check.name;
                    tracing::warn!(check, %error, "a change of readiness is in no incident's log");
                }
            },
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "changes of readiness are in no incident's log");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

async fn concerned(log: &Log, change: &Change) -> Result<Vec<IncidentId>, LogError> {
    if let Some(target) = target_of(&change.check.name) {
        return log.open_incidents(target).await;
    }
    let all = log.incidents().await?.into_iter();
    let open = all.filter(|incident| incident.closed_at.is_none());
    Ok(open.map(|incident| incident.incident).collect())
}

async fn append(log: &Log, incidents: Vec<IncidentId>, change: &Change) {
    let Change { before, check } = change;
    for incident in incidents {
        let body = EventBody::ReadinessChanged {
            check: check.name.clone(),
            before: *before,
            now: check.state,
            evidence: check.evidence.clone(),
            remedy: check.remedy.clone(),
        };
        log.record(incident, Actor::System, body).await;
    }
}
