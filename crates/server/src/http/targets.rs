//! Targets: how they are, and what can be done to them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use breakglass_control::{
    Accepted, Endpoint, IdempotencyKey, OperationRequest, OperationView, Permit,
    Refusal, Target,
};
use breakglass_model::{Diagnosis, IncidentId, Vitals};
use breakglass_verbs::Verb;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::extract::{NoBody, PathOf, QueryOf};
use super::problem::Problem;
use super::state::AppState;
use crate::auth::Identity;
use breakglass_model::sentence;

/// Longer than any verb takes: the gate has its own deadlines.
const WAIT: Duration = Duration::from_secs(15 * 60);

/// One machine to be saved.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export, optional_fields)]
pub(super) struct TargetView {
    /// Its name.
    name: String,
    /// Where the guest is: `address:port`.
    guest_address: String,
    /// Where its host is.
    host_address: String,
    /// How it is, once it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    vitals: Option<Vitals>,
    /// What can be done.
    verbs: Vec<VerbView>,
    /// What can be looked at without the agent.
    checks: Vec<CheckView>,
    /// The mutating verb that runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    running_operation: Option<OperationView>,
}

/// One thing that can be done to a target.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct VerbView {
    /// The word.
    verb: &'static str,
    /// Whether it changes the guest.
    mutating: bool,
    /// What it does and what is lost by it.
    description: &'static str,
}

/// One read-only diagnosis of the guest.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct CheckView {
    /// The word.
    check: &'static str,
    /// What it looks at.
    description: &'static str,
}

/// How to run a verb or a check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// Whether to answer only with the result.
    #[serde(default)]
    wait: bool,
    /// In whose log to record it; else the newest open one of the target, else a new one.
    incident: Option<IncidentId>,
}

pub(super) async fn list(State(state): State<AppState>, _: Identity) -> Json<Vec<TargetView>> {
    Json(
        state
            .control
            .targets()
            .map(|target| view(&state, target))
            .collect(),
    )
}

pub(super) async fn show(
    State(state): State<AppState>,
    _: Identity,
    PathOf(name): PathOf<String>,
) -> Result<Json<TargetView>, Problem> {
    Ok(Json(view(&state, &find(&state, &name)?)))
}

/// The target, or 404 with the names that there are.
pub(super) fn find(state: &AppState, name: &str) -> Result<Target, Problem> {
    let found = state
        .control
        .targets()
        .find(|target| target.name == name)
        .cloned();
    found.ok_or_else(|| {
        let names = state.control.targets().map(|target| target.name.clone());
        Problem::not_found(format!("There is no target {name:?}.")).allowed(names)
    })
}

fn address(endpoint: &Endpoint) -> String {
    let host = &endpoint.host;
    let port = endpoint.port;
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn view(state: &AppState, target: &Target) -> TargetView {
    let verb = |verb: Verb| VerbView {
        verb: verb.as_str(),
        mutating: verb.is_mutating(),
        description: verb.describe(),
    };
    let check = |check: &Diagnosis| CheckView {
        check: check.as_str(),
        description: check.describe(),
    };
    TargetView {
        name: target.name.clone(),
        guest_address: address(&target.guest),
        host_address: address(&target.host),
        vitals: state.control.vitals(&target.name),
        verbs: Verb::ALL.map(verb).into(),
        checks: Diagnosis::ALL.iter().map(check).collect(),
        running_operation: state.control.running(&target.name),
    }
}

/// `POST /api/targets/{target}/verbs/{verb}`. Both names are looked up before anything is
/// dialled.
pub(super) async fn run_verb(
    State(state): State<AppState>,
    identity: Identity,
    PathOf((target, word)): PathOf<(String, String)>,
    QueryOf(run): QueryOf<Run>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Problem> {
    find(&state, &target)?;
    let verb = Verb::parse(&word).ok_or_else(|| {
        let detail = format!("There is no verb {word:?}. Verbs: {}.", Verb::allowed());
        Problem::not_found(detail).allowed(Verb::ALL.map(|verb| verb.as_str().to_owned()))
    })?;
    let permit = state.control.permit(&identity.actor(), &target, verb);
    submit(&state, permit, &run, &headers).await
}

/// Submits a verb or diagnosis.
async fn submit(
    state: &AppState,
    permit: Result<Permit, Refusal>,
    run: &Run,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let request = OperationRequest {
        permit: permit.map_err(|refusal| refusal_problem(state, &refusal))?,
        incident: super::incidents::place(state, run.incident).await?,
        key: idempotency_key(headers)?,
    };
    let submitted = state.control.submit(request).await;
    let accepted = submitted.map_err(|refusal| refusal_problem(state, &refusal))?;
    answer(state, accepted, run.wait).await
}

/// 202 with the operation, or 200 with its result where that is waited for.
async fn answer(state: &AppState, accepted: Accepted, wait: bool) -> Result<Response, Problem> {
    if wait && let Some(result) = state.control.wait(accepted.operation, WAIT).await {
        return Ok(Json(result).into_response());
    }
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::malformed("Idempotency-Key is there twice."));
    }
    let key = IdempotencyKey::new(value.to_str().unwrap_or_default());
    key.map(Some)
        .map_err(|format| Problem::malformed(format!("Idempotency-Key: {format}.")))
}

fn refusal_problem(state: &AppState, refusal: &Refusal) -> Problem {
    let detail = sentence(refusal.to_string());
    match refusal {
        Refusal::UnknownTarget { .. } => Problem::not_found(detail),
        Refusal::Busy { operation, .. } => {
            let incident = state
                .control
                .operation(*operation)
                .and_then(|running| running.incident);
            let problem = Problem::conflict("busy", "A verb is running", detail);
            problem.operation(*operation, incident)
        }
        Refusal::KeyReused { operation, .. } => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let problem = Problem::new(status, "key-reused", "Idempotency key reused", detail);
            problem.operation(*operation, None)
        }
        Refusal::TooMany { .. } => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            Problem::new(status, "too-many", "Too many operations", detail)
        }
        Refusal::BypassesBastion => {
            Problem::new(StatusCode::FORBIDDEN, "refused", "Refused", detail)
        }
        Refusal::ShuttingDown => Problem::unavailable(detail),
    }
}

/// `POST /api/targets/{target}/checks/{check}`: read-only, and without the agent.
pub(super) async fn run_check(
    State(state): State<AppState>,
    identity: Identity,
    PathOf((target, word)): PathOf<(String, String)>,
    QueryOf(run): QueryOf<Run>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Problem> {
    find(&state, &target)?;
    let check = Diagnosis::parse(&word).ok_or_else(|| {
        let words: Vec<String> = Diagnosis::ALL.iter().map(ToString::to_string).collect();
        let detail = format!("There is no check {word:?}. Checks: {}.", words.join(", "));
        Problem::not_found(detail).allowed(words)
    })?;
    let permit = state.control.permit(&identity.actor(), &target, check);
    submit(&state, permit, &run, &headers).await
}
