//! Incidents: open, list, show and close them, prompt their agent and stop it.
//!
//! The log keeps the incidents and the agent's crate runs the turns; this module translates requests
//! and errors.

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
use super::lookup;
use super::state::AppState;
use crate::auth::Identity;
use crate::problem::Problem;
use breakglass_cell::NoAgent;
use breakglass_model::sentence;

/// Longest wait until a new incident's autonomy is recorded.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum length of a prompt, in bytes.
pub const PROMPT_MAX_BYTES: usize = 16 * 1024;

/// A request to open an incident.
#[derive(Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export)]
pub(super) struct OpenIncident {
    /// The name of the target.
    target: String,
}

/// The incident that was opened.
#[derive(Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct IncidentOpened {
    /// The incident's id.
    incident: IncidentId,
}

/// A prompt for the agent.
#[derive(Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export, optional_fields)]
pub(super) struct Prompt {
    /// The operator's text, 1 byte to 16 KiB.
    #[schemars(length(max = 16_384), regex(pattern = r"\S"))]
    text: String,
    /// The model: one of the agent's models in `/api/me`.
    model: Option<String>,
    /// The agent: one of the agents in `/api/me`. Default: the agent of the incident's last turn, else
    /// the first agent.
    agent: Option<String>,
}

/// The result of an accepted prompt.
#[derive(Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct PromptTaken {
    /// The number of the turn that it started.
    turn: TurnNumber,
}

/// The result of a request to stop the agent.
#[derive(Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct Stopped {
    /// Whether a turn was running. It has ended now.
    stopped: bool,
}

pub(super) async fn open(
    State(state): State<AppState>,
    identity: Identity,
    Body(request): Body<OpenIncident>,
) -> Result<Response, Problem> {
    let target = lookup::target(&state, &request.target)?.name;
    let drill = state.info.drill;
    let actor = identity.actor();
    let incident = state.log.open_incident(&target, actor, drill).await?;
    prepare(&state, incident, &target).await;
    if let Ok(agents) = &state.agents {
        agents.warm(incident);
    }
    let location = [(header::LOCATION, format!("/api/incidents/{incident}"))];
    let opened = Json(IncidentOpened { incident });
    Ok((StatusCode::CREATED, location, opened).into_response())
}

/// Records the incident's autonomy, so that the page shows it from the start. On a failure or a
/// timeout the bastion tries again before the agent's first command.
async fn prepare(state: &AppState, incident: IncidentId, target: &str) {
    let Some(bastion) = &state.bastion else {
        return;
    };
    match tokio::time::timeout(PREPARE_TIMEOUT, bastion.prepare(incident, target)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%incident, %error, "the autonomy of a new incident is not recorded yet");
        }
        Err(_) => tracing::warn!(%incident, "the autonomy of a new incident is not recorded yet"),
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
    lookup::incident(&state, incident).await.map(Json)
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
    if prompt.text.len() > PROMPT_MAX_BYTES {
        return Err(Problem::unacceptable("The prompt is longer than 16 KiB."));
    }
    let choice = choose_agent(&state, prompt.agent, prompt.model)?;
    lookup::open_incident(&state, incident).await?;
    let unavailable = |reason: &NoAgent| Problem::unavailable(reason.to_string());
    let agents = state.agents.as_ref().map_err(unavailable)?;
    let started = agents
        .prompt(incident, identity.actor(), prompt.text, choice)
        .await;
    let turn = started.map_err(prompt_problem)?;
    Ok((StatusCode::ACCEPTED, Json(PromptTaken { turn })).into_response())
}

/// Checks that the agent exists and offers the model. A model without an agent belongs to the first
/// agent.
fn choose_agent(
    state: &AppState,
    agent: Option<String>,
    model: Option<String>,
) -> Result<PromptTarget, Problem> {
    let agents = &state.info.agents;
    let Some(name) = agent.or_else(|| model.as_ref().and(agents.first()).map(|it| it.name.clone()))
    else {
        return Ok(PromptTarget::default());
    };
    let Some(choice) = agents.iter().find(|choice| choice.name == name) else {
        let problem = Problem::unacceptable(format!("This server has no agent {name:?}."));
        return Err(problem.allowed(agents.iter().map(|choice| choice.name.clone())));
    };
    if let Some(model) = model
        .as_ref()
        .filter(|model| !choice.models.contains(model))
    {
        let problem = Problem::unacceptable(format!("The agent {name:?} has no model {model:?}."));
        return Err(problem.allowed(choice.models.iter().cloned()));
    }
    let agent = Some(name);
    Ok(PromptTarget { agent, model })
}

fn prompt_problem(error: PromptError) -> Problem {
    let detail = error.to_string();
    match error {
        PromptError::TurnRunning(turn) => {
            Problem::conflict("turn-running", "The agent is already working", detail).turn(turn)
        }
        PromptError::BadModel | PromptError::NoSuchAgent(_) => Problem::unacceptable(detail),
        PromptError::UnknownTarget(_) => {
            Problem::conflict("unknown-target", "Target no longer configured", detail)
        }
        PromptError::AllBusy(_) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            Problem::new(status, "all-agents-busy", "All agents are busy", detail)
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
    lookup::incident(&state, incident).await?;
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
    let target = lookup::open_incident(&state, incident).await?.target;
    let actor = identity.actor();
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
    fn prompt_errors_map_to_status_and_kind() {
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
