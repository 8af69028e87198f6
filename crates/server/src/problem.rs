//! Errors as the client sees them: problem details (RFC 9457).
//!
//! A problem never contains internals; those are logged where the problem is created.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use breakglass_log::LogError;
use breakglass_model::sentence;
use breakglass_model::{IncidentId, OperationId, TurnNumber};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;
use ts_rs::TS;

/// A problem detail (RFC 9457): the response to a failed request.
#[derive(Debug, Clone)]
pub struct Problem(Box<ProblemBody>);

/// The body of every error response.
#[derive(Debug, Clone, Serialize, TS, JsonSchema)]
#[ts(export, rename = "Problem", optional_fields)]
#[schemars(rename = "Problem")]
pub struct ProblemBody {
    /// The kind of problem, for programs: `urn:breakglass:busy`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words, always the same for one kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do next, as a sentence.
    pub detail: String,
    /// The operation that blocks the request and can be followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// The incident whose log has that operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The turn that blocks the request: wait for it or stop it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNumber>,
    /// The values that would have been accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// Seconds to wait before the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "number")]
    pub retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem whose type is `urn:breakglass:{kind}`.
    #[must_use]
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Problem {
        Problem(Box::new(ProblemBody {
            kind: format!("urn:breakglass:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            operation: None,
            incident: None,
            turn: None,
            allowed: None,
            retry_after_s: None,
        }))
    }

    /// 401: the request has no proof of an identity.
    #[must_use]
    pub fn unauthorized() -> Problem {
        Problem::not_signed_in("Sign in at /, or send Authorization: Bearer with the API token.")
    }

    /// 401: the secret is neither the token nor a valid code.
    #[must_use]
    pub fn wrong_token() -> Problem {
        Problem::not_signed_in(
            "This is neither this server's API token nor a valid one-time code. A code works once, \
             within 15 minutes.",
        )
    }

    /// 401: the proof of an identity is malformed or not accepted. `reason` is a sentence.
    #[must_use]
    pub fn refused_proof(reason: &str) -> Problem {
        Problem::not_signed_in(&format!(
            "{reason} Sign in at / with the API token, or send Authorization: Bearer with it."
        ))
    }

    fn not_signed_in(detail: &str) -> Problem {
        let status = StatusCode::UNAUTHORIZED;
        Problem::new(status, "unauthorized", "Not signed in", detail)
    }

    /// 403: the request comes from another site.
    #[must_use]
    pub fn cross_site(reason: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "cross-site",
            "Refused as cross-site",
            sentence(reason),
        )
    }

    /// 403: the client has one of this server's own addresses, as the agent does.
    #[must_use]
    pub fn local_address() -> Problem {
        let detail = "This request comes from one of the server's own addresses, which the agent has \
                      too. Send it from another machine or pod, or use /metrics on the main listener \
                      with the API token.";
        Problem::new(
            StatusCode::FORBIDDEN,
            "own-address",
            "Not from this server's own address",
            detail,
        )
    }

    /// 421: the request is meant for another host.
    #[must_use]
    pub fn misdirected(reason: impl Into<String>) -> Problem {
        let title = "Not this server's name";
        Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            title,
            sentence(reason),
        )
    }

    /// 429: too many wrong tokens came from one address.
    #[must_use]
    pub fn too_many_wrong_tokens(wait: Duration) -> Problem {
        let detail = "Too many wrong tokens came from this address. The right token is still \
                      accepted at any time.";
        let status = StatusCode::TOO_MANY_REQUESTS;
        let problem = Problem::new(
            status,
            "too-many-wrong-tokens",
            "Too many wrong tokens",
            detail,
        );
        problem.retry_after(wait)
    }

    /// 404: no such resource.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 422: the request is understood but not acceptable.
    #[must_use]
    pub fn unacceptable(detail: impl Into<String>) -> Problem {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "unacceptable", "Not acceptable", detail)
    }

    /// 400: the request could not be parsed.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed",
            "Not understood",
            detail,
        )
    }

    /// 409: the request conflicts with the current state.
    #[must_use]
    pub fn conflict(kind: &str, title: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, kind, title, detail)
    }

    /// 429: the identity `name` has the maximum number of streams open.
    pub(crate) fn too_many_streams(name: &str) -> Problem {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let detail = format!("{name} has the maximum number of event streams and exports open.");
        Problem::new(status, "too-many-streams", "Too many streams", detail)
    }

    /// 503: a part of the server is not available.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "unavailable", "Not available", detail)
    }

    /// Adds the operation that blocks the request.
    #[must_use]
    pub fn operation(mut self, operation: OperationId, incident: Option<IncidentId>) -> Problem {
        self.0.operation = Some(operation);
        self.0.incident = incident;
        self
    }

    /// Adds the turn that blocks the request.
    #[must_use]
    pub fn turn(mut self, turn: TurnNumber) -> Problem {
        self.0.turn = Some(turn);
        self
    }

    /// Adds the values that would have been accepted.
    #[must_use]
    pub fn allowed(mut self, values: impl IntoIterator<Item = String>) -> Problem {
        self.0.allowed = Some(values.into_iter().collect());
        self
    }

    /// Adds the time to wait before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Problem {
        self.0.retry_after_s = Some(wait.as_secs().max(1));
        self
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &ProblemBody {
        &self.0
    }
}

/// The detail is the log's own error text, which is written for operators.
impl From<LogError> for Problem {
    fn from(error: LogError) -> Problem {
        let detail = sentence(error.to_string());
        match error {
            LogError::NotFound { .. } => Problem::not_found(detail),
            LogError::Closed { .. } => Problem::conflict("closed", "Closed", detail),
            LogError::TooLarge { .. } => Problem::unacceptable(detail),
            _ => {
                tracing::error!(%error, "the incident log failed");
                Problem::unavailable(detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.0.retry_after_s;
        let mut response = (status, Json(&*self.0)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
