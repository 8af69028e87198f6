//! Liveness and readiness.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use breakglass_agent::AgentHealth;
use breakglass_journal::{Vital, VitalState};
use serde::Serialize;
use ts_rs::TS;

use super::state::{AppState, NoAgent};
use crate::auth::Identity;
use crate::doctor::{self, Check};

/// Longest wait for the agent's CLI to say how it is.
const AGENT_LIMIT: Duration = Duration::from_secs(3);
/// What tells which link is broken.
const REMEDY: &str = "breakglass doctor --config FILE tells which link is broken";

/// Whether each link of the chain holds.
#[derive(Debug, Serialize, TS)]
#[ts(export)]
pub(super) struct Readiness {
    /// Whether all of them do: none is red.
    ready: bool,
    /// Each by name: `store`, `agent`, `ssh_key`, for every target `NAME.ssh`, `NAME.vm`, and for
    /// every receiver `notify.NAME`, as they are now; all others as `breakglass doctor` names them, as they were at the last examination.
    checks: BTreeMap<String, Link>,
}

/// One link of the chain.
#[derive(Debug, Serialize, TS)]
#[ts(export)]
pub(super) struct Link {
    /// Whether it holds: it is not red.
    ok: bool,
    /// How it stands.
    state: doctor::State,
    /// What was seen.
    message: String,
    /// What to do; none where it is green.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    remedy: Option<String>,
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
    let mut checks = BTreeMap::new();
    let now = live(&state).await;
    for check in now.into_iter().chain(state.findings.last()) {
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
    let ready = checks
        .values()
        .all(|check| check.state < doctor::State::Red);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let links = checks.into_iter();
    let checks = links.map(|(name, check)| (name, check.into())).collect();
    (status, Json(Readiness { ready, checks }))
}

impl From<Check> for Link {
    fn from(check: Check) -> Link {
        Link {
            ok: check.state < doctor::State::Red,
            state: check.state,
            message: check.evidence,
            remedy: check.remedy,
            at: check.at,
        }
    }
}

/// What is known without dialling anybody.
async fn live(state: &AppState) -> Vec<Check> {
    let mut checks = vec![store(state), agent(state).await];
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
    match state.journal.degraded() {
        None => Check::green("store", "What is acknowledged is on disk."),
        Some(why) => {
            let dir = state.findings.config().data_dir.display();
            let remedy = format!("free space in {dir} and see that it can be written: df {dir}");
            Check::red("store", why, remedy)
        }
    }
}

async fn agent(state: &AppState) -> Check {
    let silent = || AgentHealth {
        available: false,
        version: None,
        message: "The agent's command does not say how it is; try again.".to_owned(),
    };
    let health = match &state.agents {
        Err(off @ NoAgent::SwitchedOff) => return Check::green("agent", off.to_string()),
        Err(NoAgent::Broken(why)) => {
            return Check::red("agent", why, "mend it and start breakglass again");
        }
        Ok(agents) => tokio::time::timeout(AGENT_LIMIT, agents.health()).await,
    };
    let config = &state.findings.config().agent;
    doctor::judge_agent(&health.unwrap_or_else(|_| silent()), config)
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
        at: vital.seen,
        ..check
    }
}
