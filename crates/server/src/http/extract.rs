//! Axum's extractors, with problem details as errors and a timeout for bodies.

use std::future::Future;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// The body of a request that takes none: empty, or `{}`. It is read anyway, because hyper closes a
/// connection with an unread body, and the client's next request would fail.
pub(super) struct NoBody;

/// The parts of the path.
pub(super) struct PathOf<T>(pub(super) T);

/// The query.
pub(super) struct QueryOf<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Problem> {
        let read = with_timeout(Json::<T>::from_request(request, state)).await?;
        read.map(|Json(value)| Body(value))
            .map_err(|rejection| json_problem(&rejection))
    }
}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<NoBody, Problem> {
        let read = with_timeout(Bytes::from_request(request, state)).await?;
        let bytes = read.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => Problem::malformed(rejection.body_text()),
        })?;
        match bytes.trim_ascii() {
            b"" | b"{}" => Ok(NoBody),
            _ => Err(Problem::unacceptable(
                "This request takes no body, or an empty object: {}.",
            )),
        }
    }
}

async fn with_timeout<T>(reading: impl Future<Output = T>) -> Result<T, Problem> {
    let read = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    read.map_err(|_| {
        let detail = "The body did not arrive within 10 s.";
        let status = StatusCode::REQUEST_TIMEOUT;
        Problem::new(status, "timeout", "Too slow", detail)
    })
}

fn too_large() -> Problem {
    let detail = "The request body is too large: at most 64 KiB are accepted.";
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    Problem::new(status, "too-large", "Too large", detail)
}

fn json_problem(rejection: &JsonRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let detail = "Send the body as JSON, with Content-Type: application/json.";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Problem::new(status, "not-json", "Not JSON", detail)
        }
        StatusCode::UNPROCESSABLE_ENTITY => Problem::unacceptable(rejection.body_text()),
        _ => Problem::malformed(rejection.body_text()),
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathOf<T>, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(PathOf(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(Problem::not_found(error.body_text()))
            }
            Err(other) => Err(Problem::malformed(other.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<QueryOf<T>, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let malformed = |rejection: QueryRejection| Problem::malformed(rejection.body_text());
        query.map(|Query(value)| QueryOf(value)).map_err(malformed)
    }
}
