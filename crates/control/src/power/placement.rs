//! Decides in which incident an operation is recorded. Nothing else decides that.

use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::request::OperationRequest;
use super::table::Operation;
use crate::handle::TargetHandle;
use crate::shared::Shared;
use breakglass_model::IncidentId;

/// Timeout for each question to the log.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// Keeps operations on `target` from being placed, so that an incident can be closed; `None` after `limit`.
pub(crate) async fn lock(target: &TargetHandle, limit: Duration) -> Option<MutexGuard<'_, ()>> {
    timeout(limit, target.placement.lock()).await.ok()
}

/// Places `operation` in the requested incident if it is open, else in the target's open incident, else in a
/// new one. `None` if the log does not answer in time.
pub(crate) async fn place(
    shared: &Shared,
    request: &OperationRequest,
    operation: &Operation,
) -> Option<IncidentId> {
    // One at a time, so that two first operations don't open two incidents, and none is placed in an
    // incident that is being closed.
    let lock = lock(&request.permit.target, LOG_TIMEOUT).await;
    let incident = match requested(shared, request).await {
        Some(requested) => Some(requested),
        None if lock.is_some() => open(shared, request).await,
        None => None,
    };
    operation.place(incident);
    incident
}

/// The requested incident, unless it is known to be closed.
async fn requested(shared: &Shared, request: &OperationRequest) -> Option<IncidentId> {
    let requested = request.incident?;
    match timeout(LOG_TIMEOUT, shared.log.incident(requested)).await {
        Ok(Ok(Some(found))) if found.closed_at.is_some() => None,
        _ => Some(requested),
    }
}

/// The target's open incident, or a new one.
async fn open(shared: &Shared, request: &OperationRequest) -> Option<IncidentId> {
    let target = &request.permit.target.config;
    let finding = async {
        if let Ok(Some(open)) = shared.log.open_incident_for(&target.name).await {
            return Some(open);
        }
        let actor = request.permit.actor.clone();
        let opened = shared.log.open_incident(&target.name, actor, target.drill);
        opened.await.ok()
    };
    timeout(LOG_TIMEOUT, finding).await.ok().flatten()
}
