//! Signing in and out, and who one is.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use breakglass_model::Autonomy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::extract::{Body, NoBody};
use super::problem::Problem;
use super::state::AppState;
use crate::auth::Identity;
use breakglass_config::Preset;

const HEALTH_DEADLINE: Duration = Duration::from_secs(3);

/// What signing in takes.
#[derive(Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export)]
pub(super) struct Login {
    /// The API token, or a one-time code.
    token: String,
}

/// Who one is, and what one is talking to.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct Me {
    /// The name.
    identity: String,
    /// Whether the targets are simulated.
    drill: bool,
    /// Of the server.
    version: String,
    /// What the agent may do without asking.
    autonomy: String,
    /// The most that it may do without asking, where it has no sandbox; else that is for people to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    ceiling: Option<AutonomyCeiling>,
    /// The agent.
    agent: AgentInfo,
    /// All agents that a prompt may name, that one first.
    agents: Vec<AgentChoice>,
    /// Prompts that are one tap.
    presets: Vec<Preset>,
}

/// The most that the agent may do without asking.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct AutonomyCeiling {
    /// In one word.
    autonomy: Autonomy,
    /// Why it is no more, and what to do, as sentences.
    why: String,
}

/// The agent, as the page shows it.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct AgentInfo {
    /// Whether a prompt would be taken.
    pub(super) available: bool,
    /// A sentence: what is wrong and what to do, or that all is well.
    pub(super) message: String,
    /// The model unless a prompt names another.
    model: String,
    /// What a prompt may name.
    models: Vec<String>,
}

/// An agent that a prompt may name.
#[derive(Debug, Clone, Serialize, TS, JsonSchema)]
#[ts(export)]
pub struct AgentChoice {
    /// Its name.
    pub name: String,
    /// Its model unless a prompt names another.
    pub model: String,
    /// What a prompt may name.
    pub models: Vec<String>,
}

/// `POST /api/login`: 204 with the session cookie.
pub(super) async fn login(
    State(state): State<AppState>,
    parts: Parts,
    Body(login): Body<Login>,
) -> Result<Response, Problem> {
    let (identity, cookie) = state.auth.sign_in((&parts).into(), &login.token)?;
    tracing::info!(identity = identity.name(), "signed in");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// `POST /api/logout`: 204, and the cookie is gone here and there.
pub(super) async fn logout(
    State(state): State<AppState>,
    identity: Identity,
    parts: Parts,
    _: NoBody,
) -> Result<Response, Problem> {
    let cookie = state.auth.sign_out((&parts).into())?;
    tracing::info!(identity = identity.name(), "signed out");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// `GET /api/me`.
pub(super) async fn me(State(state): State<AppState>, identity: Identity) -> Json<Me> {
    Json(Me {
        identity: identity.name().to_owned(),
        drill: state.about.drill,
        version: state.about.version.clone(),
        autonomy: state.about.autonomy.to_string(),
        ceiling: ceiling(&state),
        agent: agent_info(&state).await,
        agents: state.about.agents.clone(),
        presets: state.about.presets.clone(),
    })
}

fn ceiling(state: &AppState) -> Option<AutonomyCeiling> {
    let ceiling = state.bastion.as_ref()?.ceiling()?;
    Some(AutonomyCeiling {
        autonomy: ceiling.autonomy,
        why: ceiling.why.clone(),
    })
}

/// How the agent is; never waits longer than 3 s for it.
pub(super) async fn agent_info(state: &AppState) -> AgentInfo {
    let (available, message) = match &state.agents {
        Err(why) => (false, why.to_string()),
        Ok(agents) => match tokio::time::timeout(HEALTH_DEADLINE, agents.health()).await {
            Ok(health) => (health.available, health.message),
            Err(_) => (
                false,
                "The agent's command does not say how it is; try again.".to_owned(),
            ),
        },
    };
    let (model, models) = (state.about.model.clone(), state.about.models.clone());
    AgentInfo {
        available,
        message,
        model,
        models,
    }
}
