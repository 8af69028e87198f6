//! Delivery to one receiver, on a thread of its own: takes notifications from the outbox, sends them over HTTP,
//! and reports the results to the outbox.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use ureq::http::{HeaderMap, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::notification::Notification;
use super::outbox::Outbox;
use super::pause::retry_after;
use super::shape::{HttpMessage, http_message};
use breakglass_config::{ReceiverConfig, Shape};

/// Maximum size of the head of a response. The body is not read.
const RESPONSE_HEAD_MAX_BYTES: usize = 32 * 1024;

/// Why a notification was not accepted. Contains neither the receiver's text nor its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A sentence without the full stop.
    pub message: String,
    /// The minimum pause before the next attempt; zero unless the receiver asked for one. `None`: do not retry.
    pub retry: Option<Duration>,
}

impl Failure {
    fn transient(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            retry: Some(Duration::ZERO),
        }
    }

    fn permanent(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            retry: None,
        }
    }
}

/// Delivers until the outbox is stopped.
pub(crate) fn run(outbox: &Outbox, client: &ReceiverClient) {
    while let Some(next) = outbox.next() {
        let sent = client.send(&next.notification);
        outbox.settle(&next, sent.map(drop));
    }
}

/// The HTTP client for one receiver.
pub(crate) struct ReceiverClient {
    agent: Agent,
    receiver: ReceiverConfig,
}

impl ReceiverClient {
    pub(crate) fn new(receiver: &ReceiverConfig) -> ReceiverClient {
        let mut tls = TlsConfig::builder();
        if let Some(authorities) = &receiver.authorities {
            tls = tls.root_certs(RootCerts::new_with_certs(authorities));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(receiver.timeout))
            .max_response_header_size(RESPONSE_HEAD_MAX_BYTES)
            .max_idle_connections(0)
            .user_agent(concat!("breakglass/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        ReceiverClient {
            agent: config.into(),
            receiver: receiver.clone(),
        }
    }

    /// Makes one attempt. Returns the result as a sentence without the full stop.
    pub(crate) fn send(&self, notification: &Notification) -> Result<String, Failure> {
        let HttpMessage { address, body } = http_message(&self.receiver, notification);
        let mut request = self
            .agent
            .post(&address)
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", &notification.id);
        if let Some(token) = &self.receiver.token {
            let (name, value) = authorization(self.receiver.shape, token.expose_secret());
            request = request.header(name, value);
        }
        for (name, value) in &self.receiver.headers {
            request = request.header(name, value);
        }
        let started = Instant::now();
        let response = request.send(&body);
        let response = response.map_err(|error| self.failure(&error))?;
        check_response(response.status(), response.headers())?;
        let status = response.status().as_u16();
        let milliseconds = started.elapsed().as_millis();
        Ok(format!("answered {status} in {milliseconds} ms"))
    }

    /// Describes an error of the client without its text, which may contain the address.
    fn failure(&self, error: &Error) -> Failure {
        match error {
            Error::Timeout(_) => {
                let limit = self.receiver.timeout.as_secs();
                Failure::transient(format!("there was no complete answer within {limit} s"))
            }
            Error::Io(error) => match error.kind() {
                // The client reports errors of TLS as this kind.
                ErrorKind::InvalidData | ErrorKind::Other => Failure::transient(TLS_FAILED),
                kind => Failure::transient(format!("the connection failed: {kind}")),
            },
            Error::HostNotFound => Failure::transient("its name could not be resolved"),
            Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) | Error::TlsRequired => {
                Failure::transient(TLS_FAILED)
            }
            Error::Protocol(_) | Error::LargeResponseHeader(..) => {
                Failure::transient("its answer is not HTTP, or has too long a head")
            }
            Error::Http(_) | Error::BadUri(_) => {
                Failure::permanent("its url and headers do not form a valid request")
            }
            _ => Failure::transient("the request failed"),
        }
    }
}

const TLS_FAILED: &str =
    "TLS failed: check that its certificate is valid for its name, or set ca_file";

fn authorization(shape: Shape, token: &str) -> (&'static str, String) {
    match shape {
        Shape::Gotify => ("x-gotify-key", token.to_owned()),
        // A complete value, such as `Basic …`, is used unchanged.
        _ if token.contains(' ') => ("authorization", token.to_owned()),
        _ => ("authorization", format!("Bearer {token}")),
    }
}

/// Turns any status but success into a failure.
fn check_response(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    let number = status.as_u16();
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        let message = format!("it answered {number}; redirects are not followed");
        return Err(Failure::permanent(message));
    }
    let message = format!("it answered {number}");
    let is_transient = matches!(number, 408 | 429) || !status.is_client_error();
    if !is_transient {
        return Err(Failure::permanent(message));
    }
    let requested = headers.get(header::RETRY_AFTER);
    let requested = requested.and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
    Err(Failure {
        message,
        retry: Some(requested.unwrap_or_default()),
    })
}
