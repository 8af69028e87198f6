//! `GET /metrics`: on the main listener for signed-in clients, on `metrics_listen` for everyone.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::state::AppState;
use super::{fallback, headers, health};
use crate::auth::{Identity, Peer};
use crate::metrics::{CONTENT_TYPE, Snapshot};
use crate::problem::Problem;

pub(super) async fn show(State(state): State<AppState>, _: Identity) -> Result<Response, Problem> {
    text(&state).await
}

async fn text(state: &AppState) -> Result<Response, Problem> {
    let bastion = state.bastion.as_ref();
    let snapshot = Snapshot {
        checks: health::checks(state, false).await.into_values().collect(),
        degraded: state.log.degraded().is_some(),
        streams: state.streams.open(),
        open_questions: bastion.map_or(0, |bastion| bastion.open_questions()),
        version: state.info.version.clone(),
        started: state.info.started,
    };
    let text = state.metrics.text(&snapshot).map_err(|error| {
        tracing::error!(%error, "the metrics could not be encoded");
        Problem::unavailable("The metrics could not be encoded; see the server's log.")
    })?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Ok(([kind], text).into_response())
}

/// The router of `metrics_listen`: `/metrics` without an identity, and nothing else. If the agent
/// shares this server's addresses, connections from those are refused.
pub fn metrics_router(state: AppState) -> Router {
    let show = |State(state): State<AppState>| async move { text(&state).await };
    Router::new()
        .route("/metrics", get(show))
        .fallback(fallback::unknown_path)
        .method_not_allowed_fallback(fallback::wrong_method)
        .layer(from_fn_with_state(state.clone(), refuse_the_agent))
        .layer(from_fn(headers::harden))
        .with_state(state)
}

async fn refuse_the_agent(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>();
    // An unknown peer is refused too.
    if state.info.agent_shares_addresses && peer.is_none_or(|peer| peer.is_local()) {
        return Err(Problem::local_address());
    }
    Ok(next.run(request).await)
}
