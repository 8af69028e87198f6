//! One receiver's thread: takes what is due, sends it, says what became of it.

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
use super::shape::{Letter, letter};
use breakglass_config::{ReceiverConfig, Shape};

/// Largest head of an answer; its body is not read at all.
const MAX_ANSWER_HEAD: usize = 32 * 1024;

/// Why a notification was not taken. Nothing in it is the receiver's own text or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A sentence without its stop.
    pub message: String,
    /// Whether to try again, and after how long at the least, where the receiver says so.
    pub again: Option<Option<Duration>>,
}

impl Failure {
    fn later(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            again: Some(None),
        }
    }

    fn never(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            again: None,
        }
    }
}

/// Delivers until the outbox is stopped.
pub(crate) fn run(outbox: &Outbox, post: &Post) {
    while let Some(next) = outbox.next() {
        let sent = post.send(&next.notification);
        outbox.settle(&next, sent.map(drop));
    }
}

/// The way to one receiver.
pub(crate) struct Post {
    agent: Agent,
    receiver: ReceiverConfig,
}

impl Post {
    pub(crate) fn new(receiver: &ReceiverConfig) -> Post {
        let mut tls = TlsConfig::builder();
        if let Some(authorities) = &receiver.authorities {
            tls = tls.root_certs(RootCerts::new_with_certs(authorities));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(receiver.timeout))
            .max_response_header_size(MAX_ANSWER_HEAD)
            .max_idle_connections(0)
            .user_agent(concat!("breakglass/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Post {
            agent: config.into(),
            receiver: receiver.clone(),
        }
    }

    /// One attempt; gives what came back, as a sentence without its stop.
    pub(crate) fn send(&self, notification: &Notification) -> Result<String, Failure> {
        let Letter { address, body } = letter(&self.receiver, notification);
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
        let asked = Instant::now();
        let answer = request.send(&body);
        let answer = answer.map_err(|error| self.broken(&error))?;
        judge(answer.status(), answer.headers())?;
        let (status, took) = (answer.status().as_u16(), asked.elapsed().as_millis());
        Ok(format!("answered {status} in {took} ms"))
    }

    /// In our own words: an error of the client may name the address.
    fn broken(&self, error: &Error) -> Failure {
        match error {
            Error::Timeout(_) => {
                let limit = self.receiver.timeout.as_secs();
                Failure::later(format!("there was no whole answer within {limit} s"))
            }
            Error::Io(error) => match error.kind() {
                // The client wraps what TLS says in an error of this kind.
                ErrorKind::InvalidData | ErrorKind::Other => Failure::later(TLS),
                kind => Failure::later(format!("the connection failed: {kind}")),
            },
            Error::HostNotFound => Failure::later("its name could not be resolved"),
            Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) | Error::TlsRequired => {
                Failure::later(TLS)
            }
            Error::Protocol(_) | Error::LargeResponseHeader(..) => {
                Failure::later("it answered something that is no HTTP, or has too long a head")
            }
            Error::Http(_) | Error::BadUri(_) => {
                Failure::never("the request could not be made of its url and headers")
            }
            _ => Failure::later("the request failed"),
        }
    }
}

const TLS: &str = "TLS failed: see that its certificate is valid for its name, or set ca_file";

fn authorization(shape: Shape, token: &str) -> (&'static str, String) {
    match shape {
        Shape::Gotify => ("x-gotify-key", token.to_owned()),
        // A whole value, such as `Basic …`, is taken as it is.
        _ if token.contains(' ') => ("authorization", token.to_owned()),
        _ => ("authorization", format!("Bearer {token}")),
    }
}

fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    let number = status.as_u16();
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        let message = format!("it answered {number}, and no redirect is followed");
        return Err(Failure::never(message));
    }
    let message = format!("it answered {number}");
    let busy = matches!(number, 408 | 429) || !status.is_client_error();
    if !busy {
        return Err(Failure::never(message));
    }
    let asked = headers.get(header::RETRY_AFTER);
    let asked = asked.and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
    Err(Failure {
        message,
        again: Some(asked),
    })
}
