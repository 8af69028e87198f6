use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use breakglass_model::sentence;
use breakglass_model::{IncidentId, OperationId, TurnNumber};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;
use ts_rs::TS;

/// An error as the client sees it: a problem detail (RFC 9457). Internals are logged where the
/// problem is made, and are never in it.
#[derive(Debug, Clone)]
pub struct Problem(Box<ProblemBody>);

/// The body of every error.
#[derive(Debug, Clone, Serialize, TS, JsonSchema)]
#[ts(export, rename = "Problem", optional_fields)]
#[schemars(rename = "Problem")]
pub struct ProblemBody {
    /// What kind of problem, for programs: `urn:breakglass:busy`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words; the same for all of a kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This case, as a sentence: what happened and what to do next.
    pub detail: String,
    /// The operation that is in the way, to attach to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// The incident in whose log that operation is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The turn that is in the way, to wait for or to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnNumber>,
    /// What would have been accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<String>>,
    /// How many seconds to wait before the next try.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(type = "number")]
    pub retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem of `kind`, a word of the kind's own.
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

    /// 401.
    #[must_use]
    pub fn unauthorized() -> Problem {
        Problem::not_signed_in("Sign in at /, or send Authorization: Bearer with the API token.")
    }

    /// 401: there is a secret, and it is none of ours.
    #[must_use]
    pub fn wrong_token() -> Problem {
        Problem::not_signed_in(
            "That is neither this server's API token nor a one-time code that still holds: a code \
             works once, within 15 minutes.",
        )
    }

    /// 401: there is a proof, and it can't be taken; `why` is a sentence.
    #[must_use]
    pub fn refused_proof(why: &str) -> Problem {
        Problem::not_signed_in(&format!(
            "{why} Sign in at / with the API token, or send Authorization: Bearer with it."
        ))
    }

    fn not_signed_in(detail: &str) -> Problem {
        let status = StatusCode::UNAUTHORIZED;
        Problem::new(status, "unauthorized", "Not signed in", detail)
    }

    /// 403: the request comes from another site.
    #[must_use]
    pub fn cross_site(why: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "cross-site",
            "Refused as cross-site",
            sentence(why),
        )
    }

    /// 403: what asks has one of this server's own addresses, as the agent has.
    #[must_use]
    pub fn own_address() -> Problem {
        let detail = "This comes from one of the server's own addresses, which the agent has too. Ask \
                      from another machine or pod, or ask for /metrics beside the page, with the API \
                      token.";
        Problem::new(
            StatusCode::FORBIDDEN,
            "own-address",
            "Not from this server's own address",
            detail,
        )
    }

    /// 421: the request is meant for another host.
    #[must_use]
    pub fn misdirected(why: impl Into<String>) -> Problem {
        let title = "Not this server's name";
        Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            title,
            sentence(why),
        )
    }

    /// 429: guessing.
    #[must_use]
    pub fn too_many_wrong_tokens(wait: Duration) -> Problem {
        let detail = "Too many wrong tokens came from this address. The right one is accepted at \
                      any time.";
        let status = StatusCode::TOO_MANY_REQUESTS;
        let problem = Problem::new(
            status,
            "too-many-wrong-tokens",
            "Too many wrong tokens",
            detail,
        );
        problem.retry_after(wait)
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 422: understood, and not acceptable.
    #[must_use]
    pub fn unacceptable(detail: impl Into<String>) -> Problem {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "unacceptable", "Not acceptable", detail)
    }

    /// 400.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed",
            "Not understood",
            detail,
        )
    }

    /// 409.
    #[must_use]
    pub fn conflict(kind: &str, title: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, kind, title, detail)
    }

    /// 429: `name` has as many streams open as one identity may.
    pub(super) fn too_many_streams(name: &str) -> Problem {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let detail = format!("{name} has as many event streams and exports open as is allowed.");
        Problem::new(status, "too-many-streams", "Too many streams", detail)
    }

    /// 503.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "unavailable", "Not available", detail)
    }

    /// Names the operation that is in the way.
    #[must_use]
    pub fn operation(mut self, operation: OperationId, incident: Option<IncidentId>) -> Problem {
        self.0.operation = Some(operation);
        self.0.incident = incident;
        self
    }

    /// Names the turn that is in the way.
    #[must_use]
    pub fn turn(mut self, turn: TurnNumber) -> Problem {
        self.0.turn = Some(turn);
        self
    }

    /// Names what would have been accepted.
    #[must_use]
    pub fn allowed(mut self, words: impl IntoIterator<Item = String>) -> Problem {
        self.0.allowed = Some(words.into_iter().collect());
        self
    }

    /// Says when to try again.
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
