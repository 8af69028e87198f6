//! Which path is whose. Everything below `/api` but signing in stands behind the guard, found
//! or not, and so do `/ready` and `/metrics`; each handler takes an [`Identity`](crate::auth::Identity) as
//! well, so a route moved out of the guard's reach answers 401 rather than anyone.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::problem::Problem;
use super::state::AppState;
use super::{
    compress, events, export, headers, health, incidents, leave, metrics, notifications, openapi,
    operations, pictures, report, session, targets,
};
use crate::web;

/// Every route that needs an identity, with its methods; what a test walks through.
pub const PROTECTED: [(&str, &str); 29] = [
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/readiness"),
    ("POST", "/api/readiness/check"),
    ("GET", "/api/me"),
    ("POST", "/api/logout"),
    ("GET", "/api/targets"),
    ("GET", "/api/targets/{target}"),
    ("GET", "/api/targets/{target}/screenshot"),
    ("POST", "/api/targets/{target}/verbs/{verb}"),
    ("POST", "/api/targets/{target}/checks/{check}"),
    ("GET", "/api/operations/{operation}"),
    ("GET", "/api/operations/{operation}/screenshot"),
    ("GET", "/api/incidents"),
    ("POST", "/api/incidents"),
    ("GET", "/api/incidents/{incident}"),
    ("GET", "/api/incidents/{incident}/events"),
    ("POST", "/api/incidents/{incident}/prompts"),
    ("POST", "/api/incidents/{incident}/stop"),
    ("POST", "/api/incidents/{incident}/approvals/{approval}"),
    ("POST", "/api/incidents/{incident}/autonomy"),
    ("POST", "/api/incidents/{incident}/cut-off"),
    ("POST", "/api/incidents/{incident}/close"),
    ("GET", "/api/incidents/{incident}/report.md"),
    ("GET", "/api/incidents/{incident}/export"),
    ("GET", "/api/notifications"),
    ("GET", "/api/no-such-thing"),
    ("POST", "/api/no-such-thing"),
];

/// The whole HTTP interface.
pub fn router(state: AppState) -> Router {
    let guarded = protected()
        .layer(from_fn_with_state(state.clone(), guard))
        .layer(from_fn(compress::json));
    let ready = Router::new()
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::show))
        .layer(from_fn_with_state(state.clone(), guard));
    let named = Router::new()
        .route("/api/login", post(session::login))
        .nest("/api", guarded)
        .merge(ready)
        .merge(web::router())
        .layer(from_fn_with_state(state.clone(), only_our_names));
    Router::new()
        .route("/health", get(health::health))
        .merge(named)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(state.about.limits.body_bytes))
        .layer(from_fn(headers::harden))
        .with_state(state)
}

fn protected() -> Router<AppState> {
    Router::new()
        .route("/openapi.json", get(openapi::show))
        .route("/me", get(session::me))
        .route("/logout", post(session::logout))
        .route("/readiness", get(health::show))
        .route("/readiness/check", post(health::check))
        .route("/targets", get(targets::list))
        .route("/targets/{target}", get(targets::show))
        .route("/targets/{target}/screenshot", get(pictures::now))
        .route("/targets/{target}/verbs/{verb}", post(targets::run_verb))
        .route("/targets/{target}/checks/{check}", post(targets::run_check))
        .route("/operations/{operation}", get(operations::show))
        .route("/operations/{operation}/screenshot", get(pictures::before))
        .route("/incidents", get(incidents::list).post(incidents::open))
        .route("/incidents/{incident}", get(incidents::show))
        .route("/incidents/{incident}/events", get(events::stream))
        .route("/incidents/{incident}/prompts", post(incidents::prompt))
        .route("/incidents/{incident}/stop", post(incidents::stop))
        .route(
            "/incidents/{incident}/approvals/{approval}",
            post(leave::decide),
        )
        .route("/incidents/{incident}/autonomy", post(leave::autonomy))
        .route("/incidents/{incident}/cut-off", post(leave::cut_off))
        .route("/incidents/{incident}/close", post(incidents::close))
        .route("/incidents/{incident}/report.md", get(report::show))
        .route("/incidents/{incident}/export", get(export::show))
        .route("/notifications", get(notifications::show))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
}

async fn guard(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let identity = state.auth.admit((&parts).into())?;
    parts.extensions.insert(identity);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

async fn only_our_names(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    state.auth.check_host((&parts).into())?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}

pub(super) async fn unknown_path(request: Request) -> Response {
    let path = request.uri().path();
    Problem::not_found(format!("There is nothing at {path}; the page is at /.")).into_response()
}

pub(super) async fn wrong_method(request: Request) -> Response {
    let detail = format!(
        "{} does not take {}.",
        request.uri().path(),
        request.method()
    );
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, "method-not-allowed", "Wrong method", detail).into_response()
}
