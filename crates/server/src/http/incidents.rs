//! Incidents: opening, listing, asking the agent, stopping it, closing.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use breakglass_agent::{PromptError, PromptTarget};
use breakglass_control::CloseRefusal;
use breakglass_log::{IncidentSummary, LogError};
use breakglass_model::{IncidentId, TurnNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::extract::{Body, NoBody, PathOf};
use super::problem::Problem;
use super::state::AppState;
use super::targets;
use crate::auth::Identity;
use breakglass_cell::NoAgent;
use breakglass_model::sentence;

/// Longest wait for what a new incident's agent may do.
const PREPARE_LIMIT: Duration = Duration::from_secs(2);
/// Longest prompt, in bytes.
pub const MAX_PROMPT: usize = 16 * 1024;

/// What opening an incident takes.
#[derive(Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export)]
pub(super) struct OpenIncident {
    /// The machine to be saved.
    target: String,
}

/// An incident that was opened.
#[derive(Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct IncidentOpened {
    /// Its id.
    incident: IncidentId,
}

/// What asking the agent takes.
#[derive(Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export, optional_fields)]
pub(super) struct Prompt {
    /// The operator's words, 1 byte to 16 KiB.
    #[schemars(length(max = 16_384), regex(pattern = r"\S"))]
    text: String,
    /// The model, one of those that `/api/me` lists for the agent.
    model: Option<String>,
    /// The agent, one of those that `/api/me` lists; without it the one that had the incident's last turn, or
    /// else the first.
    agent: Option<String>,
}

/// A prompt that was taken.
#[derive(Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct PromptTaken {
    /// The turn that it began.
    turn: TurnNumber,
}

/// What became of a wish to stop.
#[derive(Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct Stopped {
    /// Whether a turn was running; it has ended now.
    stopped: bool,
}

pub(super) async fn open(
    State(state): State<AppState>,
    identity: Identity,
    Body(wish): Body<OpenIncident>,
) -> Result<Response, Problem> {
    targets::find(&state, &wish.target)?;
    let drill = state.about.drill;
    let opened = state
        .log
        .open_incident(&wish.target, identity.actor(), drill)
        .await;
    let incident = opened?;
    prepare(&state, incident, &wish.target).await;
    if let Ok(agents) = &state.agents {
        agents.warm(incident);
    }
    let place = [(header::LOCATION, format!("/api/incidents/{incident}"))];
    Ok((
        StatusCode::CREATED,
        place,
        Json(IncidentOpened { incident }),
    )
        .into_response())
}

/// So that the page shows from the first moment what the agent may do. Where it can't be had in time, the
/// agent does nothing before it is.
async fn prepare(state: &AppState, incident: IncidentId, target: &str) {
    let Some(bastion) = &state.bastion else {
        return;
    };
    match tokio::time::timeout(PREPARE_LIMIT, bastion.prepare(incident, target)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%incident, %error, "what its agent may do is not known yet");
        }
        Err(_) => tracing::warn!(%incident, "what its agent may do is not known yet"),
    }
}

pub(super) async fn list(
    State(state): State<AppState>,
    _: Identity,
) -> Result<Json<Vec<IncidentSummary>>, Problem> {
    Ok(Json(state.log.incidents().await?))
}

pub(super) async fn show(
    State(state): State<AppState>,
    _: Identity,
    PathOf(incident): PathOf<IncidentId>,
) -> Result<Json<IncidentSummary>, Problem> {
    find(&state, incident).await.map(Json)
}

/// The incident, or 404.
pub(super) async fn find(
    state: &AppState,
    incident: IncidentId,
) -> Result<IncidentSummary, Problem> {
    if let Some(found) = state.log.incident(incident).await? {
        return Ok(found);
    }
    Err(match state.log.tombstone(incident).await? {
        Some(gone) => Problem::not_found(format!("Incident {incident} was {gone}.")),
        None => unknown(incident),
    })
}

/// In whose log an operation is recorded: the incident that was asked for, unless it is closed
/// or the record is degraded, since power is never refused for want of a place in the record.
pub(super) async fn place(
    state: &AppState,
    wanted: Option<IncidentId>,
) -> Result<Option<IncidentId>, Problem> {
    let Some(incident) = wanted else {
        return Ok(None);
    };
    match state.log.incident(incident).await {
        // Control places the operation in another incident if this one is closed.
        Ok(Some(_)) => Ok(Some(incident)),
        Ok(None) if state.log.degraded().is_none() => Err(unknown(incident)),
        Ok(None) | Err(_) => Ok(None),
    }
}

fn unknown(incident: IncidentId) -> Problem {
    Problem::not_found(format!("There is no incident {incident}."))
}

pub(super) async fn find_open(
    state: &AppState,
    incident: IncidentId,
) -> Result<IncidentSummary, Problem> {
    let summary = find(state, incident).await?;
    if summary.closed_at.is_some() {
        let detail = "This incident is closed; open a new one.";
        return Err(Problem::conflict("closed", "Closed", detail));
    }
    Ok(summary)
}

pub(super) async fn prompt(
    State(state): State<AppState>,
    identity: Identity,
    PathOf(incident): PathOf<IncidentId>,
    Body(prompt): Body<Prompt>,
) -> Result<Response, Problem> {
    if prompt.text.trim().is_empty() {
        return Err(Problem::unacceptable("The prompt is empty."));
    }
    if prompt.text.len() > MAX_PROMPT {
        return Err(Problem::unacceptable("The prompt is longer than 16 KiB."));
    }
    let asked = asked(&state, prompt.agent, prompt.model)?;
    find_open(&state, incident).await?;
    let unavailable = |why: &NoAgent| Problem::unavailable(why.to_string());
    let agents = state.agents.as_ref().map_err(unavailable)?;
    let taken = agents
        .prompt(incident, identity.actor(), prompt.text, asked)
        .await;
    let turn = taken.map_err(prompt_problem)?;
    Ok((StatusCode::ACCEPTED, Json(PromptTaken { turn })).into_response())
}

/// Which agent is asked: one that there is, and by a model of its own. A model alone is the first agent's.
fn asked(
    state: &AppState,
    agent: Option<String>,
    model: Option<String>,
) -> Result<PromptTarget, Problem> {
    let agents = &state.about.agents;
    let Some(name) = agent.or_else(|| model.as_ref().and(agents.first()).map(|it| it.name.clone()))
    else {
        return Ok(PromptTarget::default());
    };
    let Some(choice) = agents.iter().find(|choice| choice.name == name) else {
        let problem = Problem::unacceptable(format!("There is no agent {name:?} here."));
        return Err(problem.allowed(agents.iter().map(|choice| choice.name.clone())));
    };
    if let Some(model) = model
        .as_ref()
        .filter(|model| !choice.models.contains(model))
    {
        let problem = Problem::unacceptable(format!("The model {model:?} is not offered here."));
        return Err(problem.allowed(choice.models.iter().cloned()));
    }
    let agent = Some(name);
    Ok(PromptTarget { agent, model })
}

fn prompt_problem(error: PromptError) -> Problem {
    let detail = error.to_string();
    match error {
        PromptError::TurnRunning(turn) => {
            Problem::conflict("turn-running", "The agent is at work", detail).turn(turn)
        }
        PromptError::BadModel | PromptError::NoSuchAgent(_) => Problem::unacceptable(detail),
        PromptError::UnknownTarget(_) => {
            Problem::conflict("unknown-target", "No such target any more", detail)
        }
        PromptError::AllBusy(_) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            Problem::new(status, "all-agents-busy", "All agents are at work", detail)
        }
        PromptError::Unrecorded(ended @ (LogError::Closed { .. } | LogError::NotFound { .. })) => {
            Problem::from(ended)
        }
        PromptError::Unrecorded(_) | PromptError::Degraded(_) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Problem::new(status, "unrecorded", "Not recorded", detail)
        }
        PromptError::Unavailable(_) => Problem::unavailable(detail),
    }
}

pub(super) async fn stop(
    State(state): State<AppState>,
    identity: Identity,
    PathOf(incident): PathOf<IncidentId>,
    _: NoBody,
) -> Result<Json<Stopped>, Problem> {
    find(&state, incident).await?;
    let stopped = match &state.agents {
        Ok(agents) => agents.stop(incident, identity.actor()).await,
        Err(_) => false,
    };
    Ok(Json(Stopped { stopped }))
}

pub(super) async fn close(
    State(state): State<AppState>,
    identity: Identity,
    PathOf(incident): PathOf<IncidentId>,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    let (target, actor) = (find_open(&state, incident).await?.target, identity.actor());
    if let Ok(agents) = &state.agents {
        agents.stop(incident, actor.clone()).await;
    }
    let closed = state.control.close(&target, incident, &actor);
    closed.await.map_err(|refusal| match refusal {
        CloseRefusal::Busy { operation, .. } => {
            let detail = sentence(refusal.to_string());
            let problem = Problem::conflict("busy", "An operation is running", detail);
            problem.operation(operation, Some(incident))
        }
        CloseRefusal::Log(error) => Problem::from(error),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_prompt_has_its_status_and_names_what_is_in_the_way() {
        let unwritable = || LogError::Unwritable {
            reason: "disk full".into(),
        };
        let incident = IncidentId::nil();
        let rows = [
            (PromptError::TurnRunning(7), 409, "turn-running"),
            (
                PromptError::UnknownTarget("web".into()),
                409,
                "unknown-target",
            ),
            (PromptError::BadModel, 422, "unacceptable"),
            (PromptError::AllBusy(4), 429, "all-agents-busy"),
            (
                PromptError::Unavailable("No CLI.".into()),
                503,
                "unavailable",
            ),
            (PromptError::Degraded("disk full".into()), 503, "unrecorded"),
            (PromptError::Unrecorded(unwritable()), 503, "unrecorded"),
            (
                PromptError::Unrecorded(LogError::Closed { incident }),
                409,
                "closed",
            ),
        ];
        for (error, status, kind) in rows {
            let problem = prompt_problem(error);
            let body = problem.body();
            assert_eq!(
                (body.status, body.kind.as_str()),
                (status, &*format!("urn:breakglass:{kind}"))
            );
            assert_eq!(body.turn, (kind == "turn-running").then_some(7));
        }
    }
}
