//! Targets: their state, and requests to run verbs and checks on them. The control crate decides
//! whether an operation may run.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use breakglass_control::{
    Accepted, Endpoint, IdempotencyKey, OperationRequest, OperationView, Permit, Refusal, Target,
};
use breakglass_model::{Diagnosis, IncidentId, Vitals};
use breakglass_verbs::Verb;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::extract::{NoBody, PathOf, QueryOf};
use super::lookup;
use super::state::AppState;
use crate::auth::Identity;
use crate::problem::Problem;
use breakglass_model::sentence;

/// Longest wait for a result. It is longer than any verb takes, because the gate has its own timeouts.
const RESULT_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The state of one target.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export, optional_fields)]
pub(super) struct TargetView {
    /// The name of the target.
    name: String,
    /// The guest's SSH address: `address:port`.
    guest_address: String,
    /// The host's SSH address: `address:port`.
    host_address: String,
    /// The vital signs; absent before the first probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    vitals: Option<Vitals>,
    /// The available verbs.
    verbs: Vec<VerbView>,
    /// The available checks of the guest, which run without the agent.
    checks: Vec<CheckView>,
    /// The mutating verb that is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    running_operation: Option<OperationView>,
}

/// A verb that can run on a target.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct VerbView {
    /// The name of the verb.
    verb: &'static str,
    /// Whether it changes the guest.
    mutating: bool,
    /// What the verb does, and what may be lost.
    description: &'static str,
}

/// A read-only check of the guest.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct CheckView {
    /// The name of the check.
    check: &'static str,
    /// What the check examines.
    description: &'static str,
}

/// The query of a request to run a verb or a check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunOptions {
    /// Whether to respond only when the result is known.
    #[serde(default)]
    wait: bool,
    /// The incident to record the operation in. Default: the target's newest open incident, else a new
    /// one.
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
    Ok(Json(view(&state, &lookup::target(&state, &name)?)))
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

/// `POST /api/targets/{target}/verbs/{verb}`. Both names are checked before any connection is made.
pub(super) async fn run_verb(
    State(state): State<AppState>,
    identity: Identity,
    PathOf((target, word)): PathOf<(String, String)>,
    QueryOf(options): QueryOf<RunOptions>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Problem> {
    lookup::target(&state, &target)?;
    let verb = Verb::parse(&word).ok_or_else(|| {
        let detail = format!("There is no verb {word:?}. Verbs: {}.", Verb::allowed());
        Problem::not_found(detail).allowed(Verb::ALL.map(|verb| verb.as_str().to_owned()))
    })?;
    let permit = state.control.permit(&identity.actor(), &target, verb);
    submit(&state, permit, &options, &headers).await
}

/// Submits a verb or a check of the guest.
async fn submit(
    state: &AppState,
    permit: Result<Permit, Refusal>,
    options: &RunOptions,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let request = OperationRequest {
        permit: permit.map_err(|refusal| refusal_problem(state, &refusal))?,
        incident: lookup::incident_to_record_in(state, options.incident).await?,
        key: idempotency_key(headers)?,
    };
    let submitted = state.control.submit(request).await;
    let accepted = submitted.map_err(|refusal| refusal_problem(state, &refusal))?;
    answer(state, accepted, options.wait).await
}

/// 202 with the operation, or 200 with its result if the client waits for it.
async fn answer(state: &AppState, accepted: Accepted, wait: bool) -> Result<Response, Problem> {
    if wait && let Some(result) = state.control.wait(accepted.operation, RESULT_TIMEOUT).await {
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
        return Err(Problem::malformed("Send only one Idempotency-Key header."));
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

/// `POST /api/targets/{target}/checks/{check}`: a read-only check of the guest, without the agent.
pub(super) async fn run_check(
    State(state): State<AppState>,
    identity: Identity,
    PathOf((target, word)): PathOf<(String, String)>,
    QueryOf(options): QueryOf<RunOptions>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, Problem> {
    lookup::target(&state, &target)?;
    let check = Diagnosis::parse(&word).ok_or_else(|| {
        let words: Vec<String> = Diagnosis::ALL.iter().map(ToString::to_string).collect();
        let detail = format!("There is no check {word:?}. Checks: {}.", words.join(", "));
        Problem::not_found(detail).allowed(words)
    })?;
    let permit = state.control.permit(&identity.actor(), &target, check);
    submit(&state, permit, &options, &headers).await
}
