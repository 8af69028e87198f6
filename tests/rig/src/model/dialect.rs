//! The APIs of models. The same script is played in each.

use std::convert::Infallible;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Part, messages, openai};

/// One server-sent event, and the condition it waits for.
pub(super) type Held = (Option<CancellationToken>, String);

/// The API that a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/v1/messages`
    Messages,
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/responses`
    Responses,
}

impl Dialect {
    pub(super) fn of(path: &str) -> Option<Dialect> {
        match path {
            "/v1/messages" => Some(Dialect::Messages),
            "/v1/chat/completions" => Some(Dialect::Chat),
            "/v1/responses" => Some(Dialect::Responses),
            _ => None,
        }
    }

    /// An error with this HTTP status, in the API's format.
    pub(super) fn status(self, code: u16) -> Response {
        let kind = match code {
            401 => "authentication_error",
            404 => "not_found_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        self.error(code, kind, "scripted")
    }

    /// An error of this type.
    pub(super) fn error(self, code: u16, kind: &str, message: &str) -> Response {
        let error = json!({"type": kind, "message": message});
        let body = match self {
            Dialect::Messages => json!({"type": "error", "error": error}),
            Dialect::Chat | Dialect::Responses => json!({"error": error}),
        };
        let code = StatusCode::from_u16(code).unwrap();
        let kind = [(header::CONTENT_TYPE, "application/json")];
        (code, kind, body.to_string()).into_response()
    }

    /// The server-sent events of the answer to `request`, which is number `number`; cut off when `over`.
    pub(super) fn stream(
        self,
        number: usize,
        parts: Vec<Part>,
        request: &Value,
        over: CancellationToken,
    ) -> impl Stream<Item = Result<String, Infallible>> + use<> {
        let events = match self {
            Dialect::Messages => messages::events(number, parts),
            Dialect::Chat => openai::chat(number, openai::fitted(parts, request)),
            Dialect::Responses => openai::responses(number, openai::fitted(parts, request)),
        };
        let paced = stream::iter(events).then(|(held, event)| async move {
            if let Some(go_on) = held {
                go_on.cancelled().await;
            }
            Ok(event)
        });
        paced.take_until(over.cancelled_owned())
    }
}
