//! The operator's control of the agent: approvals, autonomy, cut-off. The bastion enforces them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use breakglass_bastion::{Bastion, BastionError, DecideError};
use breakglass_model::{Autonomy, Decision, IncidentId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::extract::{Body, PathOf};
use super::lookup;
use super::state::AppState;
use crate::auth::Identity;
use crate::problem::Problem;
use breakglass_cell::NoAgent;
use breakglass_model::sentence;

/// Maximum length of a note, in bytes.
const NOTE_MAX_BYTES: usize = 4096;

/// The operator's decision on one question of the agent.
#[derive(Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export, optional_fields)]
pub(super) struct DecideApproval {
    /// `allow` or `deny`.
    #[ts(type = "\"allow\" | \"deny\"")]
    #[schemars(extend("enum" = ["allow", "deny"]))]
    decision: Decision,
    /// A note for the agent, at most 4 KiB.
    #[schemars(length(max = 4096))]
    note: Option<String>,
}

/// A decision that took effect.
#[derive(Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct ApprovalTaken {
    /// The id of the approval.
    approval: String,
    /// The decision.
    decision: Decision,
}

/// How much the agent may do without asking.
#[derive(Serialize, Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export)]
pub(super) struct AutonomySetting {
    /// The level of autonomy.
    autonomy: Autonomy,
}

/// Whether the agent is cut off.
#[derive(Serialize, Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export)]
pub(super) struct CutOffSetting {
    /// If true, the agent can reach neither guest, host nor model.
    cut_off: bool,
}

/// `POST /api/incidents/{incident}/approvals/{approval}`: responds once the decision has taken effect.
pub(super) async fn decide(
    State(state): State<AppState>,
    identity: Identity,
    PathOf((incident, approval)): PathOf<(IncidentId, String)>,
    Body(DecideApproval { decision, note }): Body<DecideApproval>,
) -> Result<Json<ApprovalTaken>, Problem> {
    if decision == Decision::Void {
        let problem = Problem::unacceptable(
            "Answer allow or deny. Only the server can make an approval void.",
        );
        return Err(problem.allowed(["allow", "deny"].map(str::to_owned)));
    }
    if note
        .as_ref()
        .is_some_and(|note| note.len() > NOTE_MAX_BYTES)
    {
        return Err(Problem::unacceptable("The note is longer than 4 KiB."));
    }
    lookup::incident(&state, incident).await?;
    let answer = (decision, note);
    let decided = bastion(&state)?.decide(incident, &approval, answer, identity.actor());
    decided.await.map_err(|error| decide_problem(&error))?;
    Ok(Json(ApprovalTaken { approval, decision }))
}

fn decide_problem(error: &DecideError) -> Problem {
    let detail = sentence(error.to_string());
    match error {
        DecideError::Unknown(_) => Problem::not_found(detail),
        DecideError::Settled(_) => Problem::conflict("settled", "Already answered", detail),
        DecideError::NoEffect => Problem::conflict("no-effect", "No effect", detail),
        DecideError::Unrecorded(_) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Problem::new(status, "unrecorded", "Not recorded", detail)
        }
    }
}

/// `POST /api/incidents/{incident}/autonomy`.
pub(super) async fn autonomy(
    State(state): State<AppState>,
    identity: Identity,
    PathOf(incident): PathOf<IncidentId>,
    Body(AutonomySetting { autonomy }): Body<AutonomySetting>,
) -> Result<Json<AutonomySetting>, Problem> {
    let target = lookup::open_incident(&state, incident).await?.target;
    let set = bastion(&state)?.set_autonomy(incident, &target, autonomy, identity.actor());
    set.await.map_err(bastion_problem)?;
    Ok(Json(AutonomySetting { autonomy }))
}

/// `POST /api/incidents/{incident}/cut-off`: with `true`, responds once the agent's commands have ended.
pub(super) async fn cut_off(
    State(state): State<AppState>,
    identity: Identity,
    PathOf(incident): PathOf<IncidentId>,
    Body(CutOffSetting { cut_off }): Body<CutOffSetting>,
) -> Result<Json<CutOffSetting>, Problem> {
    let target = lookup::open_incident(&state, incident).await?.target;
    let set = bastion(&state)?.set_cut_off(incident, &target, cut_off, identity.actor());
    set.await.map_err(bastion_problem)?;
    Ok(Json(CutOffSetting { cut_off }))
}

fn bastion(state: &AppState) -> Result<&Bastion, Problem> {
    state.bastion.as_ref().ok_or_else(|| {
        let reason = match &state.agents {
            Err(reason) => reason.to_string(),
            Ok(_) => NoAgent::SwitchedOff.to_string(),
        };
        Problem::unavailable(reason)
    })
}

fn bastion_problem(error: BastionError) -> Problem {
    match error {
        BastionError::Log(error) => Problem::from(error),
        BastionError::Target(refusal) => {
            let detail = sentence(refusal.to_string());
            Problem::conflict("unknown-target", "Target no longer configured", detail)
        }
        BastionError::AboveCeiling(why) => {
            Problem::conflict("above-ceiling", "Above this server's autonomy ceiling", why)
        }
        BastionError::Sockets { .. } => {
            tracing::error!(%error, "the bastion could not be opened");
            Problem::unavailable(sentence(error.to_string()))
        }
    }
}
