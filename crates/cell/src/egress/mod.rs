//! The one way out of the agent's sandbox: a proxy that lets connections to the model's API through, and
//! to nothing else.
//!
//! ```text
//!   in the sandbox: HTTPS_PROXY ── handed over ──► Egress ─┬─ CONNECT host:port ── TLS by that name ─► API
//!                                                          ├─ a whole http:// address ───────────────► API
//!                                                          └─ anything else: refused, and recorded
//! ```
//! Names are resolved here, never in the sandbox. What the agent tells the model's API is the API's affair:
//! whoever may speak to a model may send it what it has read.

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

/// Connections that one sandbox may have open at once.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to send a request's head, or the first message of TLS.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// How long resolving a name and connecting may take together.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How much of a request's address is shown where it names no destination.
const SHOWN_MAX_CHARS: usize = 120;

/// What became of one attempt to get out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where to, as the client said it.
    pub to: String,
    /// Why it did not get there; none where it did.
    pub error: Option<Error>,
}

/// Why an attempt did not get through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not on the list.
    #[error("only {0} can be reached")]
    NotListed(String),
    /// It was let through by its name and then asked for another one.
    #[error("the connection to {expected} asks for {found}")]
    OtherName {
        /// The host that it connected to.
        expected: String,
        /// What it asked for instead.
        found: String,
    },
    /// It is no request to a proxy.
    #[error("this is no request to a proxy")]
    NoProxyRequest,
    /// Too many are open.
    #[error("{CONNECTIONS_MAX} connections are open already")]
    TooMany,
    /// The other end can't be reached.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
}

/// Is told of every attempt.
pub type Report = Arc<dyn Fn(Attempt) + Send + Sync>;

/// The proxy of one sandbox. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
    /// Ends every connection.
    end: CancellationToken,
}

struct Inner {
    listed: Vec<AllowedHost>,
    report: Report,
    room: Semaphore,
    tasks: TaskTracker,
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Egress").field(&self.inner.listed).finish()
    }
}

impl Egress {
    /// A proxy to what is `listed`.
    pub fn new(listed: Vec<AllowedHost>, report: Report, tasks: TaskTracker) -> Egress {
        let inner = Inner {
            listed,
            report,
            room: Semaphore::new(CONNECTIONS_MAX),
            tasks,
        };
        Egress {
            inner: Arc::new(inner),
            end: CancellationToken::new(),
        }
    }

    /// The same, whose connections end when `end` is cancelled.
    pub fn until(&self, end: CancellationToken) -> Egress {
        let inner = Arc::clone(&self.inner);
        Egress { inner, end }
    }

    /// Serves one connection from the sandbox to its end.
    pub async fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(_room) = self.inner.room.try_acquire() else {
            self.tell("a connection", Some(Error::TooMany));
            return;
        };
        let (opened, mut tunnels) = mpsc::channel(1);
        let end = self.end.clone();
        let service = service_fn(move |request| {
            let (egress, opened) = (self.clone(), opened.clone());
            async move { Ok::<_, Infallible>(egress.answer(request, &opened).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT);
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let tunnelling = async {
            if let Some(tunnel) = tunnels.recv().await {
                self.run(tunnel).await;
            }
        };
        // The tunnel begins when the connection has become one, and both end with the sandbox.
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
                self.tell(&to, Some(error));
                return response;
            }
        };
        if *request.method() != Method::CONNECT {
            self.tell(&to.to_string(), None);
            let of = (&self.inner.tasks, &self.end);
            return forward::forward(request, upstream, of).await;
        }
        let client = hyper::upgrade::on(&mut request);
        // There is room for one, and a connection becomes a tunnel once.
        let _ = opened.try_send(Tunnel {
            to,
            client,
            upstream,
        });
        Response::new(forward::text(String::new()))
    }

    async fn reach(&self, request: &Request<Incoming>) -> Result<(AllowedHost, TcpStream), Error> {
        let to = AllowedHost::of(request.uri()).ok_or(Error::NoProxyRequest)?;
        if !self.inner.listed.contains(&to) {
            return Err(Error::NotListed(self.list()));
        }
        let upstream = connect(&to).await.map_err(Error::Unreachable)?;
        Ok((to, upstream))
    }

    async fn run(&self, tunnel: Tunnel) {
        let to = tunnel.to.to_string();
        let began = tunnel.begin().await;
        self.tell(&to, began.as_ref().err().cloned());
        if let Ok(mut pair) = began {
            let _ = tokio::io::copy_bidirectional(&mut pair.0, &mut pair.1).await;
        }
    }

    fn list(&self) -> String {
        let listed: Vec<String> = self.inner.listed.iter().map(ToString::to_string).collect();
        listed.join(", ")
    }

    fn tell(&self, to: &str, error: Option<Error>) {
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
    match timeout(CONNECT_LIMIT, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} s", CONNECT_LIMIT.as_secs())),
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

/// What was asked for, where it names no destination.
fn shorten(uri: &hyper::Uri) -> String {
    uri.to_string().chars().take(SHOWN_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests;
