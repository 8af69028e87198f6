//! Responses for unknown paths and methods.

use axum::extract::Request;
use axum::http::StatusCode;

use crate::problem::Problem;

pub(super) async fn unknown_path(request: Request) -> Problem {
    let path = request.uri().path();
    Problem::not_found(format!("There is nothing at {path}; the page is at /."))
}

pub(super) async fn wrong_method(request: Request) -> Problem {
    let path = request.uri().path();
    let detail = format!("{path} does not accept {}.", request.method());
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, "method-not-allowed", "Wrong method", detail)
}
