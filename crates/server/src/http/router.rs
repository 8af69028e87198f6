//! The routes and their middleware.
//!
//! The guard protects every path below `/api` except `/api/login`, existing or not, and `/ready` and
//! `/metrics`. Each handler also takes an [`Identity`](crate::auth::Identity), so a route that is
//! added outside of the guard by mistake returns 401.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};

use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};

use super::fallback::{unknown_path, wrong_method};
use super::state::AppState;
use super::{
    compress, events, export, headers, health, incidents, metrics, notifications, openapi,
    operations, permission, report, screenshots, session, targets,
};
use crate::problem::Problem;
use crate::web;

/// Every route that needs an identity, with its method. Tests request each of them without one.
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
    let guarded_at_root = Router::new()
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::show))
        .layer(from_fn_with_state(state.clone(), guard));
    let with_host_check = Router::new()
        .route("/api/login", post(session::login))
        .nest("/api", guarded)
        .merge(guarded_at_root)
        .merge(web::router())
        .layer(from_fn_with_state(state.clone(), check_host));
    Router::new()
        .route("/health", get(health::health))
        .merge(with_host_check)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(state.info.limits.body_bytes))
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
        .route("/targets/{target}/screenshot", get(screenshots::now))
        .route("/targets/{target}/verbs/{verb}", post(targets::run_verb))
        .route("/targets/{target}/checks/{check}", post(targets::run_check))
        .route("/operations/{operation}", get(operations::show))
        .route(
            "/operations/{operation}/screenshot",
            get(screenshots::before),
        )
        .route("/incidents", get(incidents::list).post(incidents::open))
        .route("/incidents/{incident}", get(incidents::show))
        .route("/incidents/{incident}/events", get(events::stream))
        .route("/incidents/{incident}/prompts", post(incidents::prompt))
        .route("/incidents/{incident}/stop", post(incidents::stop))
        .route(
            "/incidents/{incident}/approvals/{approval}",
            post(permission::decide),
        )
        .route("/incidents/{incident}/autonomy", post(permission::autonomy))
        .route("/incidents/{incident}/cut-off", post(permission::cut_off))
        .route("/incidents/{incident}/close", post(incidents::close))
        .route("/incidents/{incident}/report.md", get(report::show))
        .route("/incidents/{incident}/export", get(export::show))
        .route("/notifications", get(notifications::show))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
}

/// Adds the request's identity, or refuses the request.
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

/// Refuses requests for another host, which stops DNS rebinding.
async fn check_host(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    state.auth.check_host((&parts).into())?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}
