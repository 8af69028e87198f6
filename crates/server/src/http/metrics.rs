//! `GET /metrics`: here behind the guard, and on a listener of its own without one.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::problem::Problem;
use super::state::AppState;
use super::{headers, health, router};
use crate::auth::Identity;
use crate::metrics::{CONTENT_TYPE, Now};

pub(super) async fn show(State(state): State<AppState>, _: Identity) -> Result<Response, Problem> {
    text(&state).await
}

async fn text(state: &AppState) -> Result<Response, Problem> {
    let bastion = state.bastion.as_ref();
    let now = Now {
        checks: health::checks(state, false).await.into_values().collect(),
        degraded: state.journal.degraded().is_some(),
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

/// What `metrics_listen` serves: `/metrics` for whoever gets there, and nothing else.
pub fn metrics_router(state: AppState) -> Router {
    let open = |State(state): State<AppState>| async move { text(&state).await };
    Router::new()
        .route("/metrics", get(open))
        .fallback(router::unknown_path)
        .method_not_allowed_fallback(router::wrong_method)
        .layer(from_fn(headers::harden))
        .with_state(state)
}
