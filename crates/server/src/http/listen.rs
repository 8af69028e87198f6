//! The accept loop: HTTP/1.1 on plain TCP; an edge or loopback supplies TLS.
//!
//! Everything a client can hold is bounded: how many connections there are, how long a header
//! may take, how long unread data may wait. On `cancel` the loop stops accepting, idle
//! connections close, running requests finish, and at the deadline the rest is cut. Event
//! streams end by the same token, in their handlers.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::auth::Peer;
use crate::metrics::Turned;

/// What a connection may take.
#[derive(Debug, Clone)]
pub struct ListenLimits {
    /// Connections open at once; one more is answered 503 and closed.
    pub connections: usize,
    /// How many of them may come from this machine's own addresses, likewise.
    pub own: usize,
    /// Longest wait for a request's header, also the first of a connection.
    pub header: Duration,
    /// Longest time that data may wait for a client that does not read.
    pub stall: Duration,
    /// Longest wait for running requests at the end.
    pub drain: Duration,
}

impl Default for ListenLimits {
    fn default() -> ListenLimits {
        ListenLimits {
            connections: 1024,
            own: 1024,
            header: Duration::from_secs(10),
            stall: Duration::from_secs(20),
            drain: Duration::from_secs(5),
        }
    }
}

/// How long what is answered may take to leave once the server ends.
const FAREWELL: Duration = Duration::from_millis(250);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\
                      Content-Type: text/plain\r\nContent-Length: 30\r\n\r\n\
                      Too many connections are open.";

/// Serves `app` until `cancel`; returns when every connection is closed.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: ListenLimits,
    turned: Turned,
    cancel: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let own = Arc::new(Semaphore::new(limits.own));
    let mut told = None;
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: they come back when connections close.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::select! {
                    () = cancel.cancelled() => break,
                    () = sleep(Duration::from_millis(100)) => continue,
                }
            }
        };
        let from = Peer::accepted(peer, stream.local_addr().ok());
        let room = from.is_own().then(|| Arc::clone(&own).try_acquire_owned());
        let Some(room) = room
            .transpose()
            .ok()
            .filter(|_| connections.len() < limits.connections)
        else {
            turned.refused.inc();
            if is_due(&mut told) {
                tracing::warn!(%peer, "refused a connection: too many are open; others in the next minute are counted alone");
            }
            // One try: a client that can't take 150 bytes at once goes without.
            let _ = stream.try_write(FULL);
            continue;
        };
        let busy = Arc::new(AtomicBool::new(false));
        let stream = patient(stream, &limits, &turned);
        let connection = connect(stream, from, app.clone(), &limits, &busy);
        let connection = graceful.watch(connection);
        let cancel = cancel.clone();
        connections.spawn(async move {
            let _room = room;
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "a connection ended early");
                },
                () = abandoned(&cancel, &busy) => {}
            }
        });
    }
    drop(listener);
    if timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "cut connections that did not end in time"
        );
    }
    connections.shutdown().await;
}

/// Whether the log is to have it: once a minute at the most.
fn is_due(told: &mut Option<Instant>) -> bool {
    let due = told.is_none_or(|at| at.elapsed() >= Duration::from_secs(60));
    if due {
        *told = Some(Instant::now());
    }
    due
}

/// Resolves once the server ends and this connection has no request in hand: one that has sent
/// half a header would be waited for until the deadline otherwise.
async fn abandoned(cancel: &CancellationToken, busy: &AtomicBool) {
    cancel.cancelled().await;
    loop {
        sleep(FAREWELL).await;
        if !busy.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn patient(stream: TcpStream, limits: &ListenLimits, turned: &Turned) -> Patience {
    tune(&stream, limits.stall);
    Patience {
        stream,
        limit: limits.stall,
        waiting: None,
        stalled: Some(turned.stalled.clone()),
    }
}

fn connect(
    stream: Patience,
    peer: Peer,
    app: Router,
    limits: &ListenLimits,
    busy: &Arc<AtomicBool>,
) -> impl GracefulConnection<Error = hyper::Error> + Send + use<> {
    let (begins, ends) = (Arc::clone(busy), Arc::clone(busy));
    let service = app.map_request(move |request: Request<Incoming>| {
        begins.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request
    });
    let service = service.map_response(move |response| {
        ends.store(false, Ordering::Relaxed);
        response
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(128 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
}

/// Sends small frames at once, and notices a peer that is gone although nothing is sent. What
/// the system does not support is left as it is: these only make an end come sooner.
fn tune(stream: &TcpStream, stall: Duration) {
    use rustix::net::sockopt;
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, Duration::from_secs(30));
    let _ = sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10));
    let _ = sockopt::set_tcp_keepcnt(stream, 3);
    let millis = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
    let _ = sockopt::set_tcp_user_timeout(stream, millis);
}

/// A stream whose writes fail once its reader has taken nothing for `limit`: a client that
/// holds a connection open without reading costs a buffer for that long and no longer.
struct Patience {
    stream: TcpStream,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    stalled: Option<Counter>,
}

impl Patience {
    fn judge<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return self.counted(written);
        }
        let limit = self.limit;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        ready!(waiting.as_mut().poll(context));
        let error = io::Error::new(io::ErrorKind::TimedOut, "the client does not read");
        self.counted(Poll::Ready(Err(error)))
    }

    /// Counts the first time-out of this connection: the system may come before us.
    fn counted<T>(&mut self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        if let Poll::Ready(Err(error)) = &done
            && late(error)
            && let Some(stalled) = self.stalled.take()
        {
            stalled.inc();
        }
        done
    }
}

impl AsyncRead for Patience {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.counted(read)
    }
}

impl AsyncWrite for Patience {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
