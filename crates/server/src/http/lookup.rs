//! Finds the target, the incident and the stream slot that a request names, or returns the problem.

use breakglass_control::Target;
use breakglass_log::IncidentSummary;
use breakglass_model::IncidentId;

use super::state::AppState;
use super::streams::StreamSlot;
use crate::auth::Identity;
use crate::problem::Problem;

/// The target `name`; 404 with the names of all targets if there is none.
pub(super) fn target(state: &AppState, name: &str) -> Result<Target, Problem> {
    let mut targets = state.control.targets();
    let found = targets.find(|target| target.name == name).cloned();
    found.ok_or_else(|| {
        let names = state.control.targets().map(|target| target.name.clone());
        Problem::not_found(format!("There is no target {name:?}.")).allowed(names)
    })
}

/// The incident; 404 if there is none.
pub(super) async fn incident(
    state: &AppState,
    incident: IncidentId,
) -> Result<IncidentSummary, Problem> {
    if let Some(found) = state.log.incident(incident).await? {
        return Ok(found);
    }
    Err(match state.log.tombstone(incident).await? {
        Some(tombstone) => Problem::not_found(format!("Incident {incident} was {tombstone}.")),
        None => unknown_incident(incident),
    })
}

/// The incident; 409 if it is closed.
pub(super) async fn open_incident(
    state: &AppState,
    incident: IncidentId,
) -> Result<IncidentSummary, Problem> {
    let summary = self::incident(state, incident).await?;
    if summary.closed_at.is_some() {
        let detail = "This incident is closed; open a new one.";
        return Err(Problem::conflict("closed", "Closed", detail));
    }
    Ok(summary)
}

/// The incident to record an operation in: the requested one. `None` if the log is degraded, because a
/// missing log must never block power.
pub(super) async fn incident_to_record_in(
    state: &AppState,
    requested: Option<IncidentId>,
) -> Result<Option<IncidentId>, Problem> {
    let Some(incident) = requested else {
        return Ok(None);
    };
    match state.log.incident(incident).await {
        // If this one is closed, control records the operation in another incident.
        Ok(Some(_)) => Ok(Some(incident)),
        Ok(None) if state.log.degraded().is_none() => Err(unknown_incident(incident)),
        Ok(None) | Err(_) => Ok(None),
    }
}

fn unknown_incident(incident: IncidentId) -> Problem {
    Problem::not_found(format!("There is no incident {incident}."))
}

/// A slot for one more stream of this identity; 429 if it has the maximum number open.
pub(super) fn stream_slot(state: &AppState, identity: &Identity) -> Result<StreamSlot, Problem> {
    let slot = state.streams.acquire(identity.name());
    slot.ok_or_else(|| Problem::too_many_streams(identity.name()))
}
