//! `GET /metrics`: here behind the guard, and on a listener of its own without one.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::problem::Problem;
use super::state::AppState;
use super::{headers, health, router};
use crate::auth::{Identity, Peer};
use crate::metrics::{CONTENT_TYPE, Now};

pub(super) async fn show(State(state): State<AppState>, _: Identity) -> Result<Response, Problem> {
    text(&state).await
}

async fn text(state: &AppState) -> Result<Response, Problem> {
    let bastion = state.bastion.as_ref();
    let now = Now {
        checks: health::checks(state, false).await.into_values().collect(),
        degraded: state.log.degraded().is_some(),
        streams: state.streams.open(),
        open_questions: bastion.map_or(0, |bastion| bastion.open_questions()),
        version: state.about.version.clone(),
        started: state.about.started,
    };
    let text = state.metrics.text(&now).map_err(|error| {
        tracing::error!(%error, "the metrics can't be written");
        Problem::unavailable("The metrics can't be written; see the server's log.")
    })?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Ok(([kind], text).into_response())
}

/// What `metrics_listen` serves: `/metrics` for whoever gets there, and nothing else. Where the agent has
/// this server's addresses, nothing for those.
pub fn metrics_router(state: AppState) -> Router {
    let open = |State(state): State<AppState>| async move { text(&state).await };
    Router::new()
        .route("/metrics", get(open))
        .fallback(router::unknown_path)
        .method_not_allowed_fallback(router::wrong_method)
        .layer(from_fn_with_state(state.clone(), not_the_agent))
        .layer(from_fn(headers::harden))
        .with_state(state)
}

async fn not_the_agent(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>();
    // A peer that is not known is not let in either.
    match state.about.agent_beside && peer.is_none_or(|peer| peer.is_own()) {
        true => Err(Problem::own_address()),
        false => Ok(next.run(request).await),
    }
}
