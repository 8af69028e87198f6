//! Liveness and readiness.

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
const AGENT: &str = "agent";
/// What tells which link is broken.
const REMEDY: &str = "the checks of guest and host tell which link is broken; so does breakglass doctor --config FILE";

/// Whether each link of the chain holds.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct Readiness {
    /// Whether all of them do: none is red.
    ready: bool,
    /// Each by name: `store`, `agent`, `ssh_key`, for every target `NAME.ssh`, `NAME.vm`, and for
    /// every receiver `notify.NAME`, as they are now; all others as `breakglass doctor` names them, as they were at the last examination.
    checks: BTreeMap<String, Link>,
}

/// One link of the chain.
#[derive(Debug, Serialize, TS, JsonSchema)]
#[ts(export)]
pub(super) struct Link {
    /// Whether it holds: it is not red.
    ok: bool,
    /// How it stands.
    state: breakglass_readiness::State,
    /// What was seen.
    message: String,
    /// What to do; none where it is green.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    remedy: Option<String>,
    /// Whether it could not be tried, since another check comes first, which the message names.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    untried: bool,
    /// When it was looked at, RFC 3339 in UTC.
    at: String,
}

/// `GET /health`: the process answers. Needs no identity and says nothing else.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// `GET /ready`: 200 if every link holds, else 503, with each link either way.
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

/// `GET /api/readiness`: the same for people; that something is broken is no failure of the answer.
pub(super) async fn show(State(state): State<AppState>, _: Identity) -> Json<Readiness> {
    Json(readiness(&state, false).await)
}

/// `POST /api/readiness/check`: the same after another examination; in a drill there is none.
pub(super) async fn check(State(state): State<AppState>, _: Identity) -> Json<Readiness> {
    if !state.about.drill {
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

/// Every check by name: what is live, and what the last examination found. To ask the agent's CLI
/// anew costs a process, which is not for everybody who looks.
pub(super) async fn checks(state: &AppState, ask_agent: bool) -> BTreeMap<String, Check> {
    let mut checks = BTreeMap::new();
    let mut examined = state.findings.last();
    let known = examined.iter().position(|check| check.name == AGENT);
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
            // Where both looked at the same, the worse counts.
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

/// What is known without dialling anybody.
fn live(state: &AppState) -> Vec<Check> {
    let mut checks = vec![store(state)];
    let fingerprint = &state.about.key_fingerprint;
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
        None => Check::green("store", "What is acknowledged is on disk."),
        Some(why) => {
            let dir = state.findings.config().data_dir.display();
            let remedy = format!("free space in {dir} and see that it can be written: df {dir}");
            Check::red("store", why, remedy)
        }
    }
}

fn vital(name: String, vital: Option<Vital>) -> Check {
    let Some(vital) = vital else {
        return Check::red(name, "Not looked at yet.", REMEDY);
    };
    let evidence = format!("{} (since {}).", vital.text, vital.since);
    let check = match vital.state {
        VitalState::Good => Check::green(name, evidence),
        VitalState::Slow => Check::amber(name, evidence, REMEDY),
        _ => Check::red(name, evidence, REMEDY),
    };
    Check {
        at: vital.seen.to_string(),
        ..check
    }
}
