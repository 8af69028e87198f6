//! Liveness and readiness: `/health`, `/ready` and `/api/readiness`.
//!
//! This module combines the live checks (store, key, vital signs, notifications, agent) with the
//! results of the last run of all other checks. The checks themselves are in the crate
//! `breakglass-readiness`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use breakglass_model::{Vital, VitalState};
use schemars::JsonSchema;
use serde::Serialize;
use ts_rs::TS;

use super::state::AppState;
use crate::auth::Identity;
use breakglass_readiness::Check;

/// The name of the agent's check.
const AGENT_CHECK: &str = "agent";
/// The remedy of a failed vital sign.
const VITAL_REMEDY: &str =
    "see which check of the guest or the host fails, or run: breakglass doctor --config FILE";

/// The readiness state: the result of every check.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct Readiness {
    /// Whether no check is red.
    ready: bool,
    /// The checks by name. Live: `store`, `agent`, `ssh_key`, for every target `NAME.ssh` and
    /// `NAME.vm`, for every receiver `notify.NAME`. All others have the names and results of the last
    /// run of `breakglass doctor`.
    checks: BTreeMap<String, Link>,
}

/// The result of one check.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct Link {
    /// Whether the check is not red.
    ok: bool,
    /// Green, amber or red.
    state: breakglass_readiness::State,
    /// The evidence.
    message: String,
    /// What to do; absent if the check is green.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    remedy: Option<String>,
    /// Whether the check was skipped because another one, named in the message, must pass first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    untried: bool,
    /// The time of the check, RFC 3339 in UTC.
    at: String,
}

/// `GET /health`: shows that the process answers. Needs no identity and reveals nothing else.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// `GET /ready`: 200 if no check is red, else 503. Both have the result of every check.
pub(super) async fn ready(
    State(state): State<AppState>,
    _: Identity,
) -> (StatusCode, Json<Readiness>) {
    let readiness = readiness(&state, true).await;
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}

/// `GET /api/readiness`: the same for the page, always with status 200.
pub(super) async fn show(State(state): State<AppState>, _: Identity) -> Json<Readiness> {
    Json(readiness(&state, false).await)
}

/// `POST /api/readiness/check`: runs all checks and then returns the state. A drill has no checks to
/// run.
pub(super) async fn check(State(state): State<AppState>, _: Identity) -> Json<Readiness> {
    if !state.info.drill {
        let wait = state.shutdown.run_until_cancelled(state.findings.try_now());
        wait.await;
    }
    Json(readiness(&state, false).await)
}

async fn readiness(state: &AppState, ask_agent: bool) -> Readiness {
    let checks = checks(state, ask_agent).await;
    let ready = checks
        .values()
        .all(|check| check.state < breakglass_readiness::State::Red);
    let links = checks.into_iter();
    let checks = links.map(|(name, check)| (name, check.into())).collect();
    Readiness { ready, checks }
}

/// Every check by name: the live ones, and the results of the last run. With `ask_agent` the agent's
/// CLI is started to test it; without, a known result is used, because each test costs a process.
pub(super) async fn checks(state: &AppState, ask_agent: bool) -> BTreeMap<String, Check> {
    let mut checks = BTreeMap::new();
    let mut examined = state.findings.current();
    let known = examined.iter().position(|check| check.name == AGENT_CHECK);
    let known = known.map(|index| examined.swap_remove(index));
    let agent = match known {
        Some(known) if !ask_agent => known,
        _ => breakglass_readiness::live_agent(&state.agents, &state.findings.config().agent).await,
    };
    let now = live(state).into_iter().chain([agent]);
    for check in now.chain(examined) {
        match checks.entry(check.name.clone()) {
            Entry::Vacant(free) => {
                free.insert(check);
            }
            // If a check was both live and in the last run, the worse result counts.
            Entry::Occupied(mut taken) if taken.get().state < check.state => {
                taken.insert(check);
            }
            Entry::Occupied(_) => {}
        }
    }
    checks
}

impl From<Check> for Link {
    fn from(check: Check) -> Link {
        Link {
            ok: check.state < breakglass_readiness::State::Red,
            state: check.state,
            message: check.evidence,
            remedy: check.remedy,
            untried: check.untried,
            at: check.at,
        }
    }
}

/// The checks that need no connection.
fn live(state: &AppState) -> Vec<Check> {
    let mut checks = vec![store(state)];
    let fingerprint = &state.info.key_fingerprint;
    checks.push(Check::green("ssh_key", format!("Loaded: {fingerprint}.")));
    for target in state.control.targets() {
        let vitals = state.control.vitals(&target.name);
        let (ssh, vm) = vitals.map_or((None, None), |vitals| (Some(vitals.ssh), Some(vitals.vm)));
        checks.push(vital(format!("{}.ssh", target.name), ssh));
        checks.push(vital(format!("{}.vm", target.name), vm));
    }
    checks.extend(state.notifier.checks());
    checks
}

fn store(state: &AppState) -> Check {
    match state.log.degraded() {
        None => Check::green("store", "Every acknowledged event is on disk."),
        Some(why) => {
            let dir = state.findings.config().data_dir.display();
            let remedy = format!("free space in {dir} and see that it can be written: df {dir}");
            Check::red("store", why, remedy)
        }
    }
}

fn vital(name: String, vital: Option<Vital>) -> Check {
    let Some(vital) = vital else {
        return Check::red(name, "Not probed yet.", VITAL_REMEDY);
    };
    let evidence = format!("{} (since {}).", vital.text, vital.since);
    let check = match vital.state {
        VitalState::Good => Check::green(name, evidence),
        VitalState::Slow => Check::amber(name, evidence, VITAL_REMEDY),
        _ => Check::red(name, evidence, VITAL_REMEDY),
    };
    Check {
        at: vital.seen.to_string(),
        ..check
    }
}
