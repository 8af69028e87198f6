//! One warm connection to an endpoint.
//!
//! ```text
//!            dialled                      broken, or a channel does not open
//!   cold ──────────────▶ warm ─────────────────────────────▶ cold
//!    │ dial failed                                            ▲
//!    └──▶ backing off (1, 2, 4 … 15 s) ──────────────────────┘
//! ```
//! Only watchers back off. An operator's verb always dials at once, unless a dial that it was waiting
//! for has just failed: then it reports that failure instead of dialling again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use russh::Channel;
use russh::client::Msg;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::SshOptions;
use super::dial::{Connection, dial};
use super::error::SshError;
use super::host_keys::HostKeys;
use super::penalty;
use crate::target::Endpoint;

/// Maximum sessions used on one connection. sshd allows 10 (`MaxSessions`); two are spare, since it
/// releases a session some time after its command has ended.
pub(super) const SESSIONS_PER_CONNECTION_MAX: usize = 8;
/// Time that sshd may need to release an ended session before it grants the next one.
pub(super) const SESSION_RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval between requests for a session during that time.
pub(super) const SESSION_RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// Longest pause between two dials of a watcher.
const REDIAL_BACKOFF_MAX: Duration = Duration::from_secs(15);

/// How urgent a command is: decides whether it dials during the backoff, and on which connections it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A watcher: during the backoff it gets the last error.
    Background,
    /// An operator waits: dials at once.
    Interactive,
    /// A mutating verb, or the end of the agent's commands: like [`Priority::Interactive`], with a
    /// connection reserved for it.
    Critical,
}

/// Why a channel could not be opened.
pub(super) enum OpenFailure {
    /// sshd allows no further session on this connection, which still works.
    SessionLimit,
    /// The connection can't be used any more.
    ConnectionLost(SshError),
}

/// A connection that is dialled when it is needed, and kept.
pub(crate) struct WarmConnection {
    pub(crate) endpoint: Endpoint,
    capacity: Arc<Semaphore>,
    /// How many sessions sshd allows per connection, as far as is known.
    sessions: AtomicUsize,
    options: Arc<SshOptions>,
    host_keys: Arc<HostKeys>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    failure: Option<Failure>,
}

struct Failure {
    error: SshError,
    at: Instant,
    backoff: Duration,
}

impl WarmConnection {
    /// Dials nothing yet. sshd is known to allow `sessions` per connection.
    pub(crate) fn new(
        endpoint: Endpoint,
        options: Arc<SshOptions>,
        host_keys: Arc<HostKeys>,
        sessions: usize,
    ) -> WarmConnection {
        WarmConnection {
            endpoint,
            capacity: Arc::new(Semaphore::new(sessions)),
            sessions: AtomicUsize::new(sessions),
            options,
            host_keys,
            state: Mutex::default(),
        }
    }

    /// How many sessions sshd allows on this connection, as far as is known.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Capacity for one more session, if there is some.
    pub(super) fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.capacity).try_acquire_owned().ok()
    }

    /// Waits for capacity for one more session.
    pub(super) async fn acquire(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.capacity).acquire_owned().await {
            Ok(capacity) => capacity,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// An unused session. A connection that proves dead is dialled again. Returns `None` if sshd allows fewer
    /// sessions than was known and other commands use them: then `capacity` is used up, and the limit is
    /// learned.
    pub(super) async fn open(
        &self,
        priority: Priority,
        capacity: OwnedSemaphorePermit,
    ) -> Result<Option<(Channel<Msg>, OwnedSemaphorePermit)>, SshError> {
        let mut dialled_again = false;
        let mut deadline = Instant::now() + SESSION_RELEASE_TIMEOUT;
        loop {
            let connection = self.get(priority).await?;
            match self.open_channel(&connection).await {
                Ok(channel) => return Ok(Some((channel, capacity))),
                Err(OpenFailure::ConnectionLost(error)) if dialled_again => return Err(error),
                Err(OpenFailure::ConnectionLost(error)) => {
                    tracing::debug!(endpoint = %self.endpoint, %error, "dialling again");
                    dialled_again = true;
                }
                Err(OpenFailure::SessionLimit) if self.others_use_sessions() => {
                    self.learn_limit(capacity);
                    return Ok(None);
                }
                Err(OpenFailure::SessionLimit) if Instant::now() < deadline => {
                    tokio::time::sleep(SESSION_RETRY_INTERVAL).await;
                }
                Err(OpenFailure::SessionLimit) if dialled_again => {
                    return Err(SshError::NoSession {
                        endpoint: self.endpoint.clone(),
                    });
                }
                // An abandoned command still uses that connection's session: leave the connection to it.
                Err(OpenFailure::SessionLimit) => {
                    self.forget(&connection).await;
                    dialled_again = true;
                    deadline = Instant::now() + SESSION_RELEASE_TIMEOUT;
                }
            }
        }
    }

    fn others_use_sessions(&self) -> bool {
        self.sessions() - self.capacity.available_permits().min(self.sessions()) > 1
    }

    /// sshd allows only the sessions in use now, without the refused one.
    fn learn_limit(&self, refused: OwnedSemaphorePermit) {
        let unused = self.capacity.forget_permits(SESSIONS_PER_CONNECTION_MAX);
        refused.forget();
        self.sessions.fetch_sub(unused + 1, Ordering::Relaxed);
        let sessions = self.sessions();
        tracing::info!(endpoint = %self.endpoint, sessions, "sshd allows few sessions per connection");
    }

    /// The warm connection, or a new one. Concurrent callers share one dial.
    pub(crate) async fn get(&self, priority: Priority) -> Result<Arc<Connection>, SshError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(connection) = state.connection.as_ref().filter(|warm| !warm.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        state.connection = None;
        if let Some(error) = state.current_failure(asked, priority) {
            return Err(error);
        }
        let wait = penalty::wait(&self.endpoint);
        if priority == Priority::Background && !wait.is_zero() {
            let last = state.failure.as_ref().map(|failure| failure.error.clone());
            return Err(last.unwrap_or_else(|| SshError::HeldBack {
                endpoint: self.endpoint.clone(),
                left: wait,
            }));
        }
        let dialled = dial(&self.endpoint, &self.options, &self.host_keys).await;
        let connection = dialled.inspect_err(|error| state.fail(error.clone()))?;
        let connection = Arc::new(connection);
        *state = State {
            connection: Some(Arc::clone(&connection)),
            failure: None,
        };
        Ok(connection)
    }

    /// Drops `dead`, unless it has been replaced already.
    pub(crate) async fn forget(&self, dead: &Arc<Connection>) {
        let mut state = self.state.lock().await;
        state.connection.take_if(|warm| Arc::ptr_eq(warm, dead));
    }
}

impl State {
    /// The last failure, if it answers a caller that asked at `asked`: it happened since then, or the caller
    /// has to back off.
    fn current_failure(&self, asked: Instant, priority: Priority) -> Option<SshError> {
        let failure = self.failure.as_ref()?;
        let is_new = failure.at >= asked;
        let backs_off = priority == Priority::Background && failure.at.elapsed() < failure.backoff;
        (is_new || backs_off).then(|| failure.error.clone())
    }

    fn fail(&mut self, error: SshError) {
        let last = self.failure.as_ref().map(|last| last.backoff * 2);
        let backoff = last.unwrap_or(Duration::from_secs(1));
        self.failure = Some(Failure {
            error,
            at: Instant::now(),
            backoff: backoff.min(REDIAL_BACKOFF_MAX),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> SshError {
        let endpoint = Endpoint {
            host: "192.0.2.1".into(),
            port: 22,
            user: "root".into(),
        };
        SshError::KeyRefused { endpoint }
    }

    #[tokio::test(start_paused = true)]
    async fn backoff_doubles_up_to_its_maximum() {
        let mut state = State::default();
        let mut backoffs = Vec::new();
        for _ in 0..6 {
            state.fail(error());
            backoffs.push(state.failure.as_ref().unwrap().backoff.as_secs());
        }
        assert_eq!(backoffs, [1, 2, 4, 8, 15, 15]);
    }

    #[tokio::test(start_paused = true)]
    async fn backoff_holds_up_a_watcher_and_never_an_operator() {
        let mut state = State::default();
        state.fail(error());
        tokio::time::advance(Duration::from_millis(500)).await;
        let now = Instant::now();
        assert_eq!(
            state.current_failure(now, Priority::Background),
            Some(error())
        );
        assert_eq!(state.current_failure(now, Priority::Interactive), None);
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(
            state.current_failure(Instant::now(), Priority::Background),
            None
        );
    }

    #[tokio::test(start_paused = true)]
    async fn caller_that_waited_for_a_failed_dial_gets_its_error() {
        let mut state = State::default();
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        state.fail(error());
        assert_eq!(
            state.current_failure(asked, Priority::Interactive),
            Some(error())
        );
    }
}
