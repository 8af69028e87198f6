//! A scripted model that judges its client. It speaks the Messages API, and the two common APIs of other
//! vendors; the request's path selects one.
//!
//! It plays a list of replies, one per request, and stores every request. When it is dropped it
//! judges them (see [`judge`]): a client that answers a tool call twice or leaks a secret fails
//! its test automatically.

mod dialect;
mod judge;
mod messages;
mod openai;
mod reply;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use dialect::Dialect;
pub use reply::{Part, Reply};

/// One received request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The API that it speaks.
    pub dialect: Dialect,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Value,
}

impl Request {
    /// The model that was asked.
    #[must_use]
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    /// The whole text of the conversation, to be searched.
    #[must_use]
    pub fn text(&self) -> String {
        self.body.to_string()
    }
}

/// The server. `Drop` ends it and judges its client.
pub struct ModelServer {
    address: SocketAddr,
    script: Arc<Script>,
    accepting: Option<JoinHandle<()>>,
}

struct Script {
    replies: Mutex<VecDeque<Reply>>,
    requests: watch::Sender<Vec<Request>>,
    secrets: Mutex<Vec<String>>,
    over: CancellationToken,
}

impl ModelServer {
    /// Listens on a free port of 127.0.0.1 and plays `replies`.
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> ModelServer {
        let script = Arc::new(Script {
            replies: Mutex::new(replies.into_iter().collect()),
            requests: watch::Sender::new(Vec::new()),
            secrets: Mutex::new(Vec::new()),
            over: CancellationToken::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&script));
        let accepting = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        ModelServer {
            address,
            script,
            accepting: Some(accepting),
        }
    }

    /// The value for `ANTHROPIC_BASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Plays one more reply after those that are left.
    pub fn then(&self, reply: Reply) {
        self.script.replies.lock().unwrap().push_back(reply);
    }

    /// Stops listening: connections are refused from now on.
    pub async fn refuse_connections(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// No request may contain this text in its body.
    pub fn forbid(&self, secret: &str) {
        self.script.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.script.requests.borrow().clone()
    }

    /// Waits until there were `count` requests.
    pub async fn wait_for_requests(&self, count: usize) {
        let mut requests = self.script.requests.subscribe();
        requests
            .wait_for(|requests| requests.len() >= count)
            .await
            .unwrap();
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.script.over.cancel();
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
        if !std::thread::panicking() {
            let secrets = self.script.secrets.lock().unwrap();
            let faults = judge::faults(&self.script.requests.borrow(), &secrets);
            assert!(
                faults.is_empty(),
                "the model's client misbehaved:\n{}",
                faults.join("\n")
            );
        }
    }
}

async fn answer(
    State(script): State<Arc<Script>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(dialect) = Dialect::of(uri.path()) else {
        return Dialect::Messages.status(404);
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let number = {
        let mut number = 0;
        script.requests.send_modify(|requests| {
            let body = body.clone();
            requests.push(Request {
                dialect,
                headers,
                body,
            });
            number = requests.len();
        });
        number
    };
    let mut next = script.replies.lock().unwrap().pop_front();
    while let Some(Reply::Late(wait, reply)) = next {
        tokio::time::sleep(wait).await;
        next = Some(*reply);
    }
    let mut response = match next {
        None | Some(Reply::Late(..)) => dialect.status(400),
        Some(Reply::Status(code)) => dialect.status(code),
        Some(Reply::RetryAfter(code, seconds)) => {
            let mut response = dialect.status(code);
            let after = header::HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, after);
            response
        }
        Some(Reply::Error(code, kind, message)) => dialect.error(code, kind, message),
        Some(Reply::Hang) => {
            script.over.cancelled().await;
            dialect.status(500)
        }
        Some(Reply::Parts(parts)) => {
            let events = dialect.stream(number, parts, &body, script.over.clone());
            (
                [(header::CONTENT_TYPE, "text/event-stream")],
                Body::from_stream(events),
            )
                .into_response()
        }
    };
    // So that refusing connections also closes existing ones.
    response.headers_mut().insert(
        header::CONNECTION,
        header::HeaderValue::from_static("close"),
    );
    response
}
