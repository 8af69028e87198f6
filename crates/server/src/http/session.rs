//! Sign-in, sign-out, and `/api/me`: the signed-in identity and the server's version.

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
use super::state::{AgentChoice, AppState};
use crate::auth::Identity;
use crate::problem::Problem;
use breakglass_config::Preset;

const AGENT_HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// A request to sign in.
#[derive(Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export)]
pub(super) struct Login {
    /// The API token or a one-time code.
    token: String,
}

/// The signed-in identity, and the server's version and settings.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct Me {
    /// The name of the identity.
    identity: String,
    /// Whether the targets are simulated.
    drill: bool,
    /// The server's version.
    version: String,
    /// The configured autonomy of the agent.
    autonomy: String,
    /// The highest possible autonomy, if it is limited (for example because there is no sandbox).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    ceiling: Option<AutonomyCeiling>,
    /// The first agent.
    agent: AgentInfo,
    /// All agents that a prompt may name, the first one first.
    agents: Vec<AgentChoice>,
    /// Prompts that the page sends with one tap.
    presets: Vec<Preset>,
}

/// The highest possible autonomy of the agent.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct AutonomyCeiling {
    /// The level of autonomy.
    autonomy: Autonomy,
    /// The reason and what to do, as sentences.
    why: String,
}

/// The state of the agent, as the page shows it.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct AgentInfo {
    /// Whether a prompt would be accepted.
    available: bool,
    /// A sentence: what is wrong and what to do, or that the agent works.
    message: String,
    /// The default model.
    model: String,
    /// The models that a prompt may name.
    models: Vec<String>,
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

/// `POST /api/logout`: revokes the session and clears the cookie.
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
        drill: state.info.drill,
        version: state.info.version.clone(),
        autonomy: state.info.autonomy.to_string(),
        ceiling: ceiling(&state),
        agent: agent_info(&state).await,
        agents: state.info.agents.clone(),
        presets: state.info.presets.clone(),
    })
}

fn ceiling(state: &AppState) -> Option<AutonomyCeiling> {
    let ceiling = state.bastion.as_ref()?.ceiling()?;
    Some(AutonomyCeiling {
        autonomy: ceiling.autonomy,
        why: ceiling.why.clone(),
    })
}

/// The state of the agent. Waits for the CLI at most 3 s.
async fn agent_info(state: &AppState) -> AgentInfo {
    let (available, message) = match &state.agents {
        Err(reason) => (false, reason.to_string()),
        Ok(agents) => match tokio::time::timeout(AGENT_HEALTH_TIMEOUT, agents.health()).await {
            Ok(health) => (health.available, health.message),
            Err(_) => (
                false,
                "The agent's command did not answer within 3 s; try again.".to_owned(),
            ),
        },
    };
    AgentInfo {
        available,
        message,
        model: state.info.model.clone(),
        models: state.info.models.clone(),
    }
}
