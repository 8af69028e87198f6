//! The warm connections to one endpoint: as many as its sshd makes necessary.
//!
//! sshd allows a number of sessions per connection (`MaxSessions`), usually ten. If it allows fewer, which is
//! learned when it refuses one, the pool opens more connections, up to a maximum; after that a caller waits for
//! the first session that ends. The last connections are reserved by priority:
//!
//! ```text
//!   few sessions:  │ 1 │ 2 │ … │ n-1 │  n  │ n+1 │
//!   Background     └───────────────┘
//!   Interactive    └─────────────────────┘
//!   Critical       └───────────────────────────┘
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use parking_lot::Mutex;
use russh::Channel;
use russh::client::Msg;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::SshOptions;
use super::error::{SshError, Stage};
use super::host_keys::HostKeys;
use super::warm::{Priority, SESSIONS_PER_CONNECTION_MAX, WarmConnection};
use crate::target::Endpoint;

/// Maximum number of connections in a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolSize {
    /// While sshd allows the usual number of sessions.
    pub(crate) normal: usize,
    /// If sshd allows few sessions per connection.
    pub(crate) few_sessions: usize,
}

/// The pool that operators and watchers share.
pub(crate) const OPERATOR_POOL: PoolSize = PoolSize {
    normal: 1,
    few_sessions: 4,
};

/// The warm connections to one endpoint.
pub(crate) struct ConnectionPool {
    pub(crate) endpoint: Endpoint,
    options: Arc<SshOptions>,
    host_keys: Arc<HostKeys>,
    size: PoolSize,
    connections: Mutex<Vec<Arc<WarmConnection>>>,
}

/// An open session, and the capacity that it uses.
pub struct OpenSession {
    /// The channel.
    pub channel: Channel<Msg>,
    pub(super) connection: Arc<WarmConnection>,
    pub(crate) _capacity: OwnedSemaphorePermit,
}

enum Capacity {
    On(Arc<WarmConnection>, OwnedSemaphorePermit),
    /// All of these are full.
    None(Vec<Arc<WarmConnection>>),
}

impl ConnectionPool {
    pub(crate) fn new(
        endpoint: Endpoint,
        options: Arc<SshOptions>,
        host_keys: Arc<HostKeys>,
        size: PoolSize,
    ) -> ConnectionPool {
        ConnectionPool {
            endpoint,
            options,
            host_keys,
            size,
            connections: Mutex::default(),
        }
    }

    /// A pool for operators on its own, outside any server.
    pub(crate) fn standalone(endpoint: Endpoint, options: SshOptions) -> ConnectionPool {
        let host_keys = options.host_keys();
        ConnectionPool::new(endpoint, Arc::new(options), host_keys, OPERATOR_POOL)
    }

    /// Dials the first connection, so that the first command need not wait for it.
    pub(crate) async fn warm(&self) -> Result<(), SshError> {
        match self.capacity(Priority::Interactive) {
            Capacity::On(connection, _capacity) => {
                connection.get(Priority::Interactive).await.map(drop)
            }
            Capacity::None(_) => Ok(()),
        }
    }

    /// A new session. Waits for capacity until `capacity_deadline`, and then at most `timeout` for the session.
    pub(crate) async fn open(
        &self,
        priority: Priority,
        capacity_deadline: Instant,
        timeout: Duration,
    ) -> Result<OpenSession, SshError> {
        let started = Instant::now();
        loop {
            let (connection, capacity) = match self.capacity(priority) {
                Capacity::On(connection, capacity) => (connection, capacity),
                Capacity::None(full) => timeout_at(capacity_deadline, first_free(full))
                    .await
                    .map_err(|_| self.crowded_error(started.elapsed()))?,
            };
            let opening = connection.open(priority, capacity);
            let opened = timeout_at(Instant::now() + timeout, opening).await;
            let opened = opened.map_err(|_| SshError::TimedOut {
                endpoint: self.endpoint.clone(),
                stage: Stage::Opening,
                after: timeout,
            })?;
            // Without a channel the connection has learned that it allows fewer sessions: try again.
            if let Some((channel, _capacity)) = opened? {
                return Ok(OpenSession {
                    channel,
                    connection,
                    _capacity,
                });
            }
        }
    }

    /// [`SshError::Crowded`], if no connection has capacity now.
    pub(super) fn crowded(&self, priority: Priority, after: Duration) -> Option<SshError> {
        match self.capacity(priority) {
            Capacity::On(..) => None,
            Capacity::None(_) => Some(self.crowded_error(after)),
        }
    }

    fn crowded_error(&self, after: Duration) -> SshError {
        SshError::Crowded {
            endpoint: self.endpoint.clone(),
            granted: describe_sessions(&self.connections.lock()),
            after,
        }
    }

    /// Capacity on the first connection that has some, or on a new one.
    fn capacity(&self, priority: Priority) -> Capacity {
        let mut connections = self.connections.lock();
        let sessions = sessions_per_connection(&connections);
        let few = sessions < SESSIONS_PER_CONNECTION_MAX;
        let max = self.size.max(few, priority);
        let usable = connections.iter().take(max);
        for connection in usable.clone() {
            if let Some(capacity) = connection.try_acquire() {
                return Capacity::On(Arc::clone(connection), capacity);
            }
        }
        if connections.len() >= max {
            return Capacity::None(usable.cloned().collect());
        }
        let new = Arc::new(WarmConnection::new(
            self.endpoint.clone(),
            Arc::clone(&self.options),
            Arc::clone(&self.host_keys),
            sessions,
        ));
        connections.push(Arc::clone(&new));
        match new.try_acquire() {
            Some(capacity) => Capacity::On(new, capacity),
            None => Capacity::None(vec![new]),
        }
    }
}

impl PoolSize {
    fn max(self, few_sessions: bool, priority: Priority) -> usize {
        let max = if few_sessions {
            self.few_sessions
        } else {
            self.normal
        };
        match priority {
            Priority::Background if few_sessions => max - 1,
            Priority::Background | Priority::Interactive => max,
            Priority::Critical => max + 1,
        }
    }
}

/// Waits for the first of `full` that has capacity; each serves its callers in their order.
async fn first_free(full: Vec<Arc<WarmConnection>>) -> (Arc<WarmConnection>, OwnedSemaphorePermit) {
    let waiting = full.into_iter().map(|connection| {
        Box::pin(async move {
            let capacity = connection.acquire().await;
            (connection, capacity)
        })
    });
    select_all(waiting).await.0
}

fn sessions_per_connection(connections: &[Arc<WarmConnection>]) -> usize {
    let sessions = connections.iter().map(|connection| connection.sessions());
    sessions.min().unwrap_or(SESSIONS_PER_CONNECTION_MAX)
}

/// Part of a sentence: what sshd allows, and how many connections are in use.
fn describe_sessions(connections: &[Arc<WarmConnection>]) -> String {
    let sessions = match sessions_per_connection(connections) {
        1 => "1 session at a time".to_owned(),
        sessions => format!("{sessions} sessions"),
    };
    let count = connections.len();
    format!("{sessions} per connection, and {count} connections are in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_power_verbs_have_connections_that_lower_priorities_never_use() {
        let max = |few, priority| OPERATOR_POOL.max(few, priority);
        for few in [false, true] {
            assert!(max(few, Priority::Critical) > max(few, Priority::Interactive));
            assert!(max(few, Priority::Background) >= 1);
        }
        assert!(max(true, Priority::Interactive) > max(true, Priority::Background));
        assert_eq!(max(false, Priority::Interactive), 1);
    }
}
