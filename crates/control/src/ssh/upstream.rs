//! The agent's own warm connections to one guest, apart from those of people and watchers: however
//! much the agent does, a check or a look at the guest never waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::error::SshError;
use super::lanes::OpenSession;
use super::lanes::{Lanes, Width};
use super::pool::Urgency;
use super::{HostKeys, SshOptions};
use crate::target::Endpoint;

/// Connections to one guest; each carries as many sessions as sshd grants.
const AGENT: Width = Width { usual: 9, few: 9 };
/// Longest wait for a session that is ready to be used, once there is room for one.
const LIMIT: Duration = Duration::from_secs(15);
/// Longest wait for room: commands of the agent may run for long.
const ROOM_LIMIT: Duration = Duration::from_secs(300);

/// The way to one guest.
pub struct Upstream {
    /// The guest.
    pub endpoint: Endpoint,
    lanes: Lanes,
    marks: AtomicU8,
}

/// Whether the guest's sshd takes the variable by which a command is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Not tried yet.
    Unknown,
    /// It accepts it.
    Taken,
    /// It ignores it.
    Refused,
}

impl Upstream {
    pub(crate) fn new(
        endpoint: Endpoint,
        options: Arc<SshOptions>,
        pins: Arc<HostKeys>,
    ) -> Upstream {
        Upstream {
            lanes: Lanes::new(endpoint.clone(), options, pins, AGENT),
            endpoint,
            marks: AtomicU8::new(0),
        }
    }

    /// Dials early, so that the first command need not wait for it.
    pub async fn warm(&self) {
        if let Err(error) = self.lanes.warm().await {
            tracing::debug!(%error, "the agent's way to the guest could not be warmed");
        }
    }

    /// A new session on the guest, dialled anew where no warm connection has room.
    pub async fn open(&self) -> Result<OpenSession, SshError> {
        let room_by = Instant::now() + ROOM_LIMIT;
        self.lanes.open(Urgency::Now, (room_by, LIMIT)).await
    }

    /// The same for what ends the agent's commands: it waits for none of them.
    pub async fn open_first(&self) -> Result<OpenSession, SshError> {
        let room_by = Instant::now() + LIMIT;
        self.lanes.open(Urgency::First, (room_by, LIMIT)).await
    }

    /// The same where it need not wait for another command to end; else why it would have to, as part of a
    /// sentence.
    pub async fn open_at_once(&self) -> Result<Result<OpenSession, SshError>, String> {
        let opened = self.lanes.open(Urgency::Now, (Instant::now(), LIMIT)).await;
        match opened {
            Err(SshError::Crowded { granted, .. }) => Err(granted),
            opened => Ok(opened),
        }
    }

    /// Whether the guest is known to accept the variable.
    pub fn marks(&self) -> Marks {
        match self.marks.load(Ordering::Relaxed) {
            1 => Marks::Taken,
            2 => Marks::Refused,
            _ => Marks::Unknown,
        }
    }

    /// Remembers whether the guest accepted the variable.
    pub fn learn_marks(&self, taken: bool) {
        self.marks
            .store(if taken { 1 } else { 2 }, Ordering::Relaxed);
    }
}
