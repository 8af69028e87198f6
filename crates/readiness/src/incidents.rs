//! Records changes of readiness in the logs of open incidents.

use breakglass_log::{Log, LogError};
use breakglass_model::{Actor, EventBody, IncidentId};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Change;
use super::check::target_of;

/// Appends each change to the open incidents of its target; a change without a target, to all open incidents. Ends
/// when the sender of the changes is dropped.
pub async fn record_changes(mut changes: Receiver<Change>, log: Log) {
    loop {
        match changes.recv().await {
            Ok(change) => match affected_incidents(&log, &change).await {
                Ok(incidents) => append(&log, incidents, &change).await,
                Err(error) => {
                    let check = &change.check.name;
                    tracing::warn!(check, %error, "a change of readiness could not be recorded");
                }
            },
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "changes of readiness were missed and not recorded");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

async fn affected_incidents(log: &Log, change: &Change) -> Result<Vec<IncidentId>, LogError> {
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
