//! One warm connection per endpoint.
//!
//! ```text
//!            dial ok                     broken, or a channel does not open
//!   cold ──────────────▶ warm ─────────────────────────────▶ cold
//!    │ dial failed                                            ▲
//!    └──▶ cooling (1, 2, 4 … 15 s) ──────────────────────────┘
//! ```
//! Cooling holds back the watchers only. A person's verb always dials at once; but one that
//! waited while another's dial failed takes that answer instead of dialling again.

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

/// sshd grants 10 sessions per connection (`MaxSessions`); two are left for its slow goodbyes.
pub(super) const SESSIONS: usize = 8;
/// How long sshd may take to be done with a session that has ended before it grants the next one.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);
/// Between two requests meanwhile.
pub(super) const AGAIN: Duration = Duration::from_millis(50);
/// Longest pause between two dials of a watcher.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Whether a dial may wait for the pause after a failed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A person waits: dial at once.
    Now,
    /// A watcher: while cooling, the last error is the answer.
    Patient,
    /// Like [`Urgency::Now`], with a connection that is kept for it: a verb that changes, and what ends
    /// the agent's commands.
    First,
}

/// Why there is no channel.
pub(super) enum NoChannel {
    /// sshd grants no further session on this connection, which lives on.
    Full,
    /// The connection is of no use any more.
    Broken(SshError),
}

/// The way to one endpoint.
pub(crate) struct Link {
    pub(crate) endpoint: Endpoint,
    sessions: Arc<Semaphore>,
    /// How many sessions sshd grants on a connection, as far as is known.
    granted: AtomicUsize,
    options: Arc<SshOptions>,
    host_keys: Arc<HostKeys>,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    failure: Option<Failure>,
}

struct Failure {
    error: SshError,
    at: Instant,
    pause: Duration,
}

impl Link {
    /// On each of its connections sshd grants `granted` sessions, as far as is known.
    pub(crate) fn new(
        endpoint: Endpoint,
        options: Arc<SshOptions>,
        host_keys: Arc<HostKeys>,
        granted: usize,
    ) -> Link {
        let slot = Mutex::default();
        Link {
            endpoint,
            sessions: Arc::new(Semaphore::new(granted)),
            granted: AtomicUsize::new(granted),
            options,
            host_keys,
            slot,
        }
    }

    /// How many sessions sshd grants on its connection, as far as is known.
    pub(super) fn granted(&self) -> usize {
        self.granted.load(Ordering::Relaxed)
    }

    /// Room for one more session, if there is some.
    pub(super) fn try_room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sessions).try_acquire_owned().ok()
    }

    /// Waits for room for one more session.
    pub(super) async fn wait_for_room(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.sessions).acquire_owned().await {
            Ok(room) => room,
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// A session that nothing was asked of yet, on a connection that is dialled anew where it proves
    /// dead. None where sshd grants fewer sessions than was thought and others have them: then `room` is
    /// gone, and so much has been learned.
    pub(super) async fn open(
        &self,
        urgency: Urgency,
        room: OwnedSemaphorePermit,
    ) -> Result<Option<(Channel<Msg>, OwnedSemaphorePermit)>, SshError> {
        let mut fresh = false;
        let mut ending = Instant::now() + GOODBYE;
        loop {
            let connection = self.connection(urgency).await?;
            match self.open_on(&connection).await {
                Ok(channel) => return Ok(Some((channel, room))),
                Err(NoChannel::Broken(error)) if fresh => return Err(error),
                Err(NoChannel::Broken(error)) => {
                    tracing::debug!(endpoint = %self.endpoint, %error, "dialling again");
                    fresh = true;
                }
                Err(NoChannel::Full) if self.others_have_sessions() => {
                    self.learn(room);
                    return Ok(None);
                }
                Err(NoChannel::Full) if Instant::now() < ending => tokio::time::sleep(AGAIN).await,
                Err(NoChannel::Full) if fresh => {
                    return Err(SshError::NoSession {
                        endpoint: self.endpoint.clone(),
                    });
                }
                // What ran there holds on to its session, and has it for itself from now on.
                Err(NoChannel::Full) => {
                    self.forget(&connection).await;
                    fresh = true;
                    ending = Instant::now() + GOODBYE;
                }
            }
        }
    }

    fn others_have_sessions(&self) -> bool {
        self.granted() - self.sessions.available_permits().min(self.granted()) > 1
    }

    /// No more sessions than are in use now, but for the one that was refused.
    fn learn(&self, room: OwnedSemaphorePermit) {
        let unused = self.sessions.forget_permits(SESSIONS);
        room.forget();
        self.granted.fetch_sub(unused + 1, Ordering::Relaxed);
        let granted = self.granted();
        tracing::info!(endpoint = %self.endpoint, granted, "sshd grants few sessions on a connection");
    }

    /// The warm connection, or a new one. Callers at the same time share one dial.
    pub(crate) async fn connection(&self, urgency: Urgency) -> Result<Arc<Connection>, SshError> {
        let asked = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(connection) = slot.connection.as_ref().filter(|warm| !warm.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        slot.connection = None;
        if let Some(error) = slot.standing_answer(asked, urgency) {
            return Err(error);
        }
        let left = penalty::wait(&self.endpoint);
        if urgency == Urgency::Patient && !left.is_zero() {
            let endpoint = self.endpoint.clone();
            let last = slot.failure.as_ref().map(|failure| failure.error.clone());
            return Err(last.unwrap_or(SshError::HeldBack { endpoint, left }));
        }
        match dial(&self.endpoint, &self.options, &self.host_keys).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *slot = Slot {
                    connection: Some(Arc::clone(&connection)),
                    failure: None,
                };
                Ok(connection)
            }
            Err(error) => {
                slot.fail(error.clone());
                Err(error)
            }
        }
    }

    /// Drops `dead`, unless somebody has already put another in its place.
    pub(crate) async fn forget(&self, dead: &Arc<Connection>) {
        let mut slot = self.slot.lock().await;
        slot.connection.take_if(|warm| Arc::ptr_eq(warm, dead));
    }
}

impl Slot {
    fn standing_answer(&self, asked: Instant, urgency: Urgency) -> Option<SshError> {
        let failure = self.failure.as_ref()?;
        let fresh = failure.at >= asked;
        let cooling = urgency == Urgency::Patient && failure.at.elapsed() < failure.pause;
        (fresh || cooling).then(|| failure.error.clone())
    }

    fn fail(&mut self, error: SshError) {
        let pause = self
            .failure
            .as_ref()
            .map_or(Duration::from_secs(1), |last| last.pause * 2);
        let pause = pause.min(LONGEST_PAUSE);
        self.failure = Some(Failure {
            error,
            at: Instant::now(),
            pause,
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
    async fn the_pause_doubles_up_to_its_limit() {
        let mut slot = Slot::default();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            slot.fail(error());
            pauses.push(slot.failure.as_ref().unwrap().pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 15, 15]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_back_a_watcher_and_never_a_person() {
        let mut slot = Slot::default();
        slot.fail(error());
        tokio::time::advance(Duration::from_millis(500)).await;
        let now = Instant::now();
        assert_eq!(slot.standing_answer(now, Urgency::Patient), Some(error()));
        assert_eq!(slot.standing_answer(now, Urgency::Now), None);
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(slot.standing_answer(Instant::now(), Urgency::Patient), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_while_a_dial_failed_takes_its_answer() {
        let mut slot = Slot::default();
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        slot.fail(error());
        assert_eq!(slot.standing_answer(asked, Urgency::Now), Some(error()));
    }
}
