//! The operator's hand on the agent: questions, autonomy, cut-off.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use breakglass_bastion::{Bastion, BastionError, DecideError};
use breakglass_model::{Autonomy, Decision, IncidentId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::extract::{Body, PathOf};
use super::incidents::find_open;
use super::problem::Problem;
use super::state::AppState;
use crate::auth::Identity;
use breakglass_cell::NoAgent;
use breakglass_model::sentence;

/// Longest note, in bytes.
const MAX_NOTE: usize = 4096;

/// What deciding on a question takes.
#[derive(Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export, optional_fields)]
pub(super) struct DecideApproval {
    /// `allow` or `deny`.
    #[ts(type = "\"allow\" | \"deny\"")]
    #[schemars(extend("enum" = ["allow", "deny"]))]
    decision: Decision,
    /// What the agent is told, at most 4 KiB.
    #[schemars(length(max = 4096))]
    note: Option<String>,
}

/// A decision that took effect.
#[derive(Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct ApprovalTaken {
    /// The question.
    approval: String,
    /// How it was decided.
    decision: Decision,
}

/// How much the agent may do without asking.
#[derive(Serialize, Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export)]
pub(super) struct AutonomySetting {
    /// In one word.
    autonomy: Autonomy,
}

/// Whether the agent is cut off.
#[derive(Serialize, Deserialize, TS, JsonSchema)]
#[serde(deny_unknown_fields)]
#[ts(export)]
pub(super) struct CutOffSetting {
    /// True: nothing of it reaches guest or host.
    cut_off: bool,
}

/// `POST /api/incidents/{incident}/approvals/{approval}`: answers when the decision took effect.
pub(super) async fn decide(
    State(state): State<AppState>,
    identity: Identity,
    PathOf((incident, approval)): PathOf<(IncidentId, String)>,
    Body(wish): Body<DecideApproval>,
) -> Result<Json<ApprovalTaken>, Problem> {
    let DecideApproval { decision, note } = wish;
    if decision == Decision::Void {
        let problem =
            Problem::unacceptable("A question is allowed or denied; void it becomes by itself.");
        return Err(problem.allowed(["allow", "deny"].map(str::to_owned)));
    }
    if note.as_ref().is_some_and(|note| note.len() > MAX_NOTE) {
        return Err(Problem::unacceptable("The note is longer than 4 KiB."));
    }
    super::incidents::find(&state, incident).await?;
    let answer = (decision, note);
    let decided = bastion(&state)?.decide(incident, &approval, answer, identity.actor());
    decided.await.map_err(|error| decide_problem(&error))?;
    Ok(Json(ApprovalTaken { approval, decision }))
}

fn decide_problem(error: &DecideError) -> Problem {
    let detail = sentence(error.to_string());
    match error {
        DecideError::Unknown(_) => Problem::not_found(detail),
        DecideError::Settled(_) => Problem::conflict("settled", "Settled before", detail),
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
    let target = find_open(&state, incident).await?.target;
    let set = bastion(&state)?.set_autonomy(incident, &target, autonomy, identity.actor());
    set.await.map_err(bastion_problem)?;
    Ok(Json(AutonomySetting { autonomy }))
}

/// `POST /api/incidents/{incident}/cut-off`: with `true` it answers when the agent's commands have
/// ended.
pub(super) async fn cut_off(
    State(state): State<AppState>,
    identity: Identity,
    PathOf(incident): PathOf<IncidentId>,
    Body(CutOffSetting { cut_off }): Body<CutOffSetting>,
) -> Result<Json<CutOffSetting>, Problem> {
    let target = find_open(&state, incident).await?.target;
    let set = bastion(&state)?.set_cut_off(incident, &target, cut_off, identity.actor());
    set.await.map_err(bastion_problem)?;
    Ok(Json(CutOffSetting { cut_off }))
}

fn bastion(state: &AppState) -> Result<&Bastion, Problem> {
    state.bastion.as_ref().ok_or_else(|| {
        let why = match &state.agents {
            Err(why) => why.to_string(),
            Ok(_) => NoAgent::SwitchedOff.to_string(),
        };
        Problem::unavailable(why)
    })
}

fn bastion_problem(error: BastionError) -> Problem {
    match error {
        BastionError::Log(error) => Problem::from(error),
        BastionError::Target(refusal) => {
            let detail = sentence(refusal.to_string());
            Problem::conflict("unknown-target", "No such target any more", detail)
        }
        BastionError::AboveCeiling(why) => {
            Problem::conflict("above-ceiling", "More than the agent may do here", why)
        }
        BastionError::Sockets { .. } => {
            tracing::error!(%error, "the bastion could not be opened");
            Problem::unavailable(sentence(error.to_string()))
        }
    }
}
