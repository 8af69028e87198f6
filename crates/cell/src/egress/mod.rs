//! The egress proxy, the only outbound connection of the agent's sandbox besides guest and host: it allows connections to
//! the model's API and to listed hosts.
//!
//! ```text
//!   in the sandbox: HTTPS_PROXY ── descriptor ───► Egress ─┬─ CONNECT host:port ── TLS by that name ─► API
//!                                                          ├─ an absolute http:// address ──────────► API
//!                                                          └─ anything else: refused, and recorded
//! ```
//! Names are resolved here, never in the sandbox. The content of connections is not examined: an agent that uses a model
//! can send it everything that it has read.

mod forward;
mod hello;
mod tunnel;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use breakglass_config::AllowedHost;
use forward::Body;
use tunnel::Tunnel;

/// Maximum number of open connections per sandbox.
const CONNECTIONS_MAX: usize = 64;
/// Timeout of a request's head, and of the first message of TLS.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout of name resolution and connection together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum length of an invalid address in messages.
const SHOWN_ADDRESS_MAX_CHARS: usize = 120;

/// The result of one outbound connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The destination, as the client wrote it.
    pub to: String,
    /// The error, if it failed.
    pub error: Option<Error>,
}

/// Why an outbound connection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The destination is not allowed.
    #[error("only {0} can be reached")]
    NotListed(String),
    /// The TLS client asked for another host than it connected to.
    #[error("the connection to {expected} asks for {found}")]
    OtherName {
        /// The host of the connection.
        expected: String,
        /// The host in the first TLS message.
        found: String,
    },
    /// It is not a request to a proxy.
    #[error("this is not a request to a proxy")]
    NoProxyRequest,
    /// Too many connections are open.
    #[error("{CONNECTIONS_MAX} connections are open already")]
    TooMany,
    /// The destination is unreachable.
    #[error("it is unreachable: {0}")]
    Unreachable(String),
}

/// Called for every outbound connection.
pub type Report = Arc<dyn Fn(Attempt) + Send + Sync>;

/// The proxy of one sandbox. Clones share one state.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
    /// Closes all connections when cancelled.
    end: CancellationToken,
}

struct Inner {
    allowed: Vec<AllowedHost>,
    report: Report,
    slots: Semaphore,
    tasks: TaskTracker,
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Egress").field(&self.inner.allowed).finish()
    }
}

impl Egress {
    /// A proxy that allows connections to the `allowed` hosts.
    pub fn new(allowed: Vec<AllowedHost>, report: Report, tasks: TaskTracker) -> Egress {
        let inner = Inner {
            allowed,
            report,
            slots: Semaphore::new(CONNECTIONS_MAX),
            tasks,
        };
        Egress {
            inner: Arc::new(inner),
            end: CancellationToken::new(),
        }
    }

    /// The same proxy; its connections are closed when `end` is cancelled.
    pub fn until(&self, end: CancellationToken) -> Egress {
        let inner = Arc::clone(&self.inner);
        Egress { inner, end }
    }

    /// Serves one connection from the sandbox to its end.
    pub async fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(_slot) = self.inner.slots.try_acquire() else {
            self.report("a connection", Some(Error::TooMany));
            return;
        };
        let (opened, mut tunnels) = mpsc::channel(1);
        let end = self.end.clone();
        let service = service_fn(move |request| {
            let egress = self.clone();
            let opened = opened.clone();
            async move { Ok::<_, Infallible>(egress.answer(request, &opened).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let tunnelling = async {
            if let Some(tunnel) = tunnels.recv().await {
                self.run(tunnel).await;
            }
        };
        // The tunnel starts after the upgrade of the connection; both end with the sandbox.
        let both = async { tokio::join!(connection.with_upgrades(), tunnelling) };
        end.run_until_cancelled(both).await;
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        opened: &mpsc::Sender<Tunnel>,
    ) -> Response<Body> {
        let (to, upstream) = match self.reach(&request).await {
            Ok(reached) => reached,
            Err(error) => {
                let to = AllowedHost::of(request.uri()).map(|to| to.to_string());
                let to = to.unwrap_or_else(|| shorten(request.uri()));
                let response = refusal(&to, &error);
                self.report(&to, Some(error));
                return response;
            }
        };
        if *request.method() != Method::CONNECT {
            self.report(&to.to_string(), None);
            let of = (&self.inner.tasks, &self.end);
            return forward::forward(request, upstream, of).await;
        }
        let client = hyper::upgrade::on(&mut request);
        // The channel has room for one tunnel, and a connection is upgraded only once.
        let _ = opened.try_send(Tunnel {
            to,
            client,
            upstream,
        });
        Response::new(forward::text(String::new()))
    }

    async fn reach(&self, request: &Request<Incoming>) -> Result<(AllowedHost, TcpStream), Error> {
        let to = AllowedHost::of(request.uri()).ok_or(Error::NoProxyRequest)?;
        if !self.inner.allowed.contains(&to) {
            return Err(Error::NotListed(self.list()));
        }
        let upstream = connect(&to).await.map_err(Error::Unreachable)?;
        Ok((to, upstream))
    }

    async fn run(&self, tunnel: Tunnel) {
        let to = tunnel.to.to_string();
        let began = tunnel.begin().await;
        self.report(&to, began.as_ref().err().cloned());
        if let Ok(mut pair) = began {
            let _ = tokio::io::copy_bidirectional(&mut pair.0, &mut pair.1).await;
        }
    }

    fn list(&self) -> String {
        let hosts: Vec<String> = self.inner.allowed.iter().map(ToString::to_string).collect();
        hosts.join(", ")
    }

    fn report(&self, to: &str, error: Option<Error>) {
        (self.inner.report)(Attempt {
            to: to.to_owned(),
            error,
        });
    }
}

async fn connect(to: &AllowedHost) -> Result<TcpStream, String> {
    let connecting = async {
        let addresses = lookup_host((to.host.as_str(), to.port)).await?;
        let mut last = std::io::Error::other("its name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

fn refusal(to: &str, error: &Error) -> Response<Body> {
    let mut response = Response::new(forward::text(format!("breakglass: {to}: {error}")));
    *response.status_mut() = match error {
        Error::NotListed(_) | Error::OtherName { .. } => StatusCode::FORBIDDEN,
        Error::NoProxyRequest => StatusCode::BAD_REQUEST,
        Error::TooMany => StatusCode::SERVICE_UNAVAILABLE,
        Error::Unreachable(_) => StatusCode::BAD_GATEWAY,
    };
    response
}

/// The start of an address that names no host.
fn shorten(uri: &hyper::Uri) -> String {
    uri.to_string()
        .chars()
        .take(SHOWN_ADDRESS_MAX_CHARS)
        .collect()
}

#[cfg(test)]
mod tests;
