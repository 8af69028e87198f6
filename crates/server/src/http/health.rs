//! Liveness and readiness.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use breakglass_journal::{Vital, VitalState};
use serde::Serialize;
use ts_rs::TS;

use super::session;
use super::state::{AppState, NoAgent};
use crate::auth::Identity;

/// Whether each link of the chain holds.
#[derive(Debug, Serialize, TS)]
#[ts(export)]
pub(super) struct Readiness {
    /// Whether all of them do.
    ready: bool,
    /// Each by name: `store`, `agent`, `ssh_key`, and for every target `NAME.ssh`, `NAME.vm`.
    checks: BTreeMap<String, Link>,
}

/// One link of the chain.
#[derive(Debug, Serialize, TS)]
#[ts(export)]
pub(super) struct Link {
    /// Whether it holds.
    ok: bool,
    /// How it is, and what to do where it does not hold.
    message: String,
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
    let store = match state.journal.degraded() {
        None => Link {
            ok: true,
            message: "What is acknowledged is on disk.".to_owned(),
        },
        Some(why) => Link {
            ok: false,
            message: why,
        },
    };
    checks.insert("store".to_owned(), store);
    let agent = session::agent_info(&state).await;
    let off = matches!(state.agents, Err(NoAgent::SwitchedOff));
    checks.insert(
        "agent".to_owned(),
        Link {
            ok: agent.available || off,
            message: agent.message,
        },
    );
    let key = Link {
        ok: true,
        message: format!("Loaded: {}.", state.about.key_fingerprint),
    };
    checks.insert("ssh_key".to_owned(), key);
    for target in state.control.targets() {
        let vitals = state.control.vitals(&target.name);
        let (ssh, vm) = vitals.map_or((None, None), |vitals| (Some(vitals.ssh), Some(vitals.vm)));
        checks.insert(format!("{}.ssh", target.name), link(ssh));
        checks.insert(format!("{}.vm", target.name), link(vm));
    }
    let ready = checks.values().all(|link| link.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, checks }))
}

fn link(vital: Option<Vital>) -> Link {
    match vital {
        None => Link {
            ok: false,
            message: "Not looked at yet.".to_owned(),
        },
        Some(vital) => {
            let ok = matches!(vital.state, VitalState::Good | VitalState::Slow);
            Link {
                ok,
                message: format!("{} (since {}).", vital.text, vital.since),
            }
        }
    }
}
