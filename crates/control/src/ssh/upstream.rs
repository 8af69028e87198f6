//! The agent's own warm connections to one guest, separate from those of operators and watchers: a
//! diagnosis or a probe of the guest never waits for the agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::error::SshError;
use super::pool::{ConnectionPool, OpenSession, PoolSize};
use super::warm::Priority;
use super::{HostKeys, SshOptions};
use crate::target::Endpoint;

/// Connections to one guest; each carries as many sessions as sshd allows.
const AGENT_POOL: PoolSize = PoolSize {
    normal: 9,
    few_sessions: 9,
};
/// Timeout for a session, once the pool has capacity for it.
const SESSION_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait for capacity: the agent's commands may run for long.
const CAPACITY_TIMEOUT: Duration = Duration::from_secs(300);

/// The agent's connections to one guest.
pub struct Upstream {
    /// The guest.
    pub endpoint: Endpoint,
    pool: ConnectionPool,
    mark_support: AtomicU8,
}

/// Whether the guest's sshd accepts the environment variable that marks the agent's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkSupport {
    /// Not tried yet.
    Unknown,
    /// It accepts the variable.
    Accepted,
    /// It ignores the variable.
    Refused,
}

impl Upstream {
    pub(crate) fn new(
        endpoint: Endpoint,
        options: Arc<SshOptions>,
        host_keys: Arc<HostKeys>,
    ) -> Upstream {
        Upstream {
            pool: ConnectionPool::new(endpoint.clone(), options, host_keys, AGENT_POOL),
            endpoint,
            mark_support: AtomicU8::new(0),
        }
    }

    /// Dials early, so that the first command need not wait for it.
    pub async fn warm(&self) {
        if let Err(error) = self.pool.warm().await {
            tracing::debug!(%error, "the agent's connection to the guest could not be opened early");
        }
    }

    /// A new session on the guest; dials if no warm connection has capacity.
    pub async fn open(&self) -> Result<OpenSession, SshError> {
        self.open_within(Priority::Interactive, CAPACITY_TIMEOUT)
            .await
    }

    /// A new session for ending the agent's commands: it waits for none of them.
    pub async fn open_first(&self) -> Result<OpenSession, SshError> {
        self.open_within(Priority::Critical, SESSION_TIMEOUT).await
    }

    /// A new session, if it need not wait for another command to end. The outer error is what sshd allows,
    /// as part of a sentence.
    pub async fn open_at_once(&self) -> Result<Result<OpenSession, SshError>, String> {
        let opened = self.open_within(Priority::Interactive, Duration::ZERO);
        match opened.await {
            Err(SshError::Crowded { granted, .. }) => Err(granted),
            opened => Ok(opened),
        }
    }

    async fn open_within(
        &self,
        priority: Priority,
        capacity_timeout: Duration,
    ) -> Result<OpenSession, SshError> {
        let deadline = Instant::now() + capacity_timeout;
        self.pool.open(priority, deadline, SESSION_TIMEOUT).await
    }

    /// Whether the guest is known to accept the variable.
    pub fn mark_support(&self) -> MarkSupport {
        match self.mark_support.load(Ordering::Relaxed) {
            1 => MarkSupport::Accepted,
            2 => MarkSupport::Refused,
            _ => MarkSupport::Unknown,
        }
    }

    /// Remembers whether the guest accepted the variable.
    pub fn set_mark_support(&self, accepted: bool) {
        let value = if accepted { 1 } else { 2 };
        self.mark_support.store(value, Ordering::Relaxed);
    }
}
