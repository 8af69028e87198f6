//! The accept loop: HTTP/1.1 on plain TCP. TLS belongs to a reverse proxy.
//!
//! All resources of a client are bounded: the number of connections, the time for a header, the time
//! that unread data may wait. On `cancel` the loop stops accepting, idle connections close and
//! running requests finish; connections that are left at the deadline are cut. Event streams end by
//! the same token, in their handlers.

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
use crate::metrics::ListenerCounters;

/// Limits on connections.
#[derive(Debug, Clone)]
pub struct ListenLimits {
    /// Maximum number of open connections. A further one gets a 503 and is closed.
    pub max_connections: usize,
    /// Maximum number of open connections from this machine's own addresses.
    pub max_local_connections: usize,
    /// Longest wait for the header of a request, from the connection or the previous response on.
    pub header_timeout: Duration,
    /// Longest time that data may wait for a client that does not read.
    pub stall_timeout: Duration,
    /// Longest wait for running requests on shutdown.
    pub drain_timeout: Duration,
}

impl Default for ListenLimits {
    fn default() -> ListenLimits {
        ListenLimits {
            max_connections: 1024,
            max_local_connections: 1024,
            header_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// Grace period on shutdown for responses that are still being sent.
const RESPONSE_GRACE: Duration = Duration::from_millis(250);
/// Pause after a failed accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Shortest interval between two log lines about refused connections.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(60);

const TOO_MANY_CONNECTIONS_RESPONSE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\
                      Content-Type: text/plain\r\nContent-Length: 30\r\n\r\n\
                      Too many connections are open.";

/// Serves `app` until `cancel`. Returns after every connection is closed.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: ListenLimits,
    counters: ListenerCounters,
    cancel: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let local_slots = Arc::new(Semaphore::new(limits.max_local_connections));
    let mut last_logged = None;
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely no file descriptor is free; closing connections free some.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::select! {
                    () = cancel.cancelled() => break,
                    () = sleep(ACCEPT_RETRY_DELAY) => continue,
                }
            }
        };
        let from = Peer::accepted(peer, stream.local_addr().ok());
        let local_slot = from
            .is_local()
            .then(|| Arc::clone(&local_slots).try_acquire_owned())
            .transpose();
        let Ok(local_slot) = local_slot.map_err(drop).and_then(|slot| {
            let is_below = connections.len() < limits.max_connections;
            is_below.then_some(slot).ok_or(())
        }) else {
            counters.refused.inc();
            if is_log_due(&mut last_logged) {
                tracing::warn!(%peer, "refused a connection because too many are open; for the next minute, refusals are only counted");
            }
            // One attempt without waiting: 150 bytes fit into the empty send buffer.
            let _ = stream.try_write(TOO_MANY_CONNECTIONS_RESPONSE);
            continue;
        };
        let busy = Arc::new(AtomicBool::new(false));
        let stream = StallGuard::new(stream, limits.stall_timeout, &counters);
        let connection = connect(stream, from, app.clone(), &limits, &busy);
        let connection = graceful.watch(connection);
        let cancel = cancel.clone();
        connections.spawn(async move {
            let _local_slot = local_slot;
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "a connection ended early");
                },
                () = idle_on_shutdown(&cancel, &busy) => {}
            }
        });
    }
    drop(listener);
    if timeout(limits.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            open = connections.len(),
            "cut connections that were still open at the deadline"
        );
    }
    connections.shutdown().await;
}

/// Whether the last refusal was logged long enough ago to log another.
fn is_log_due(last_logged: &mut Option<Instant>) -> bool {
    let due = last_logged.is_none_or(|at| at.elapsed() >= REFUSAL_LOG_INTERVAL);
    if due {
        *last_logged = Some(Instant::now());
    }
    due
}

/// Resolves after `cancel`, once the connection has no request in progress. hyper would wait until
/// the deadline for a connection that has sent half a header.
async fn idle_on_shutdown(cancel: &CancellationToken, busy: &AtomicBool) {
    cancel.cancelled().await;
    loop {
        sleep(RESPONSE_GRACE).await;
        if !busy.load(Ordering::Relaxed) {
            return;
        }
    }
}

fn connect(
    stream: StallGuard,
    peer: Peer,
    app: Router,
    limits: &ListenLimits,
    busy: &Arc<AtomicBool>,
) -> impl GracefulConnection<Error = hyper::Error> + Send + use<> {
    let busy_from = Arc::clone(busy);
    let busy_until = Arc::clone(busy);
    let service = app.map_request(move |request: Request<Incoming>| {
        busy_from.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request
    });
    let service = service.map_response(move |response| {
        busy_until.store(false, Ordering::Relaxed);
        response
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(128 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
}

/// Disables Nagle's algorithm and enables keep-alive probes, which detect a dead peer while nothing
/// is sent. Errors are ignored: without these options a dead connection is only detected later.
fn set_socket_options(stream: &TcpStream, stall_timeout: Duration) {
    use rustix::net::sockopt;
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, Duration::from_secs(30));
    let _ = sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10));
    let _ = sockopt::set_tcp_keepcnt(stream, 3);
    let millis = u32::try_from(stall_timeout.as_millis()).unwrap_or(u32::MAX);
    let _ = sockopt::set_tcp_user_timeout(stream, millis);
}

/// A stream whose writes fail after the client has read nothing for `stall_timeout`. This bounds how
/// long a client that does not read can occupy a connection and its buffer.
struct StallGuard {
    stream: TcpStream,
    stall_timeout: Duration,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Incremented at the first time-out, then taken.
    stalled: Option<Counter>,
}

impl StallGuard {
    fn new(stream: TcpStream, stall_timeout: Duration, counters: &ListenerCounters) -> StallGuard {
        set_socket_options(&stream, stall_timeout);
        StallGuard {
            stream,
            stall_timeout,
            deadline: None,
            stalled: Some(counters.stalled.clone()),
        }
    }

    /// Passes on a finished write. A waiting one fails at the deadline.
    fn check_deadline<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return self.count_timeout(written);
        }
        let stall_timeout = self.stall_timeout;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall_timeout)));
        ready!(deadline.as_mut().poll(context));
        let error = io::Error::new(io::ErrorKind::TimedOut, "the client does not read");
        self.count_timeout(Poll::Ready(Err(error)))
    }

    /// Counts the first time-out of this connection, whether ours or that of `TCP_USER_TIMEOUT`.
    fn count_timeout<T>(&mut self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &done
            && error.kind() == io::ErrorKind::TimedOut
            && let Some(stalled) = self.stalled.take()
        {
            stalled.inc();
        }
        done
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.count_timeout(read)
    }
}

impl AsyncWrite for StallGuard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check_deadline(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.check_deadline(written, context)
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
