//! The agent's own warm connections to one guest, apart from those of people and watchers: however
//! much the agent does, a check or a look at the guest never waits for it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::Channel;
use russh::client::Msg;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::error::{SshError, Stage};
use super::pool::{Link, Urgency};
use super::{HostKeys, SshOptions};
use crate::target::Endpoint;

/// Connections to one guest; each carries as many sessions as sshd grants.
const LINKS: usize = 9;
/// Longest wait for a session that is ready to be used.
const LIMIT: Duration = Duration::from_secs(15);

/// A session on the guest, and the room that it takes.
pub(crate) struct OpenSession {
    pub(crate) channel: Channel<Msg>,
    pub(crate) _room: OwnedSemaphorePermit,
}

/// The way to one guest.
pub(crate) struct Upstream {
    pub(crate) endpoint: Endpoint,
    options: Arc<SshOptions>,
    pins: Arc<HostKeys>,
    links: Mutex<Vec<Arc<Link>>>,
    marks: AtomicU8,
}

/// Whether the guest's sshd takes the variable by which a command is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    Unknown,
    Taken,
    Refused,
}

impl Upstream {
    pub(crate) fn new(
        endpoint: Endpoint,
        options: Arc<SshOptions>,
        pins: Arc<HostKeys>,
    ) -> Upstream {
        let links = Mutex::default();
        let marks = AtomicU8::new(0);
        Upstream {
            endpoint,
            options,
            pins,
            links,
            marks,
        }
    }

    /// Dials early, so that the first command need not wait for it.
    pub(crate) async fn warm(&self) {
        let (link, _room) = self.roomiest();
        if let Err(error) = link.connection(Urgency::Now).await {
            tracing::debug!(%error, "the agent's way to the guest could not be warmed");
        }
    }

    /// A new session on the guest, dialled anew where no warm connection has room.
    pub(crate) async fn open(&self) -> Result<OpenSession, SshError> {
        let opening = async {
            let (link, room) = self.roomiest();
            let room = match room {
                Some(room) => room,
                None => link.room().await?,
            };
            let channel = link.open(Urgency::Now).await?;
            Ok(OpenSession {
                channel,
                _room: room,
            })
        };
        let late = || SshError::TimedOut {
            endpoint: self.endpoint.clone(),
            stage: Stage::Opening,
            after: LIMIT,
        };
        timeout(LIMIT, opening).await.map_err(|_| late())?
    }

    pub(crate) fn marks(&self) -> Marks {
        match self.marks.load(Ordering::Relaxed) {
            1 => Marks::Taken,
            2 => Marks::Refused,
            _ => Marks::Unknown,
        }
    }

    pub(crate) fn learn_marks(&self, taken: bool) {
        self.marks
            .store(if taken { 1 } else { 2 }, Ordering::Relaxed);
    }

    /// The first link with room, with that room; a new link where none has any; the last one,
    /// without room, where there may be no more.
    fn roomiest(&self) -> (Arc<Link>, Option<OwnedSemaphorePermit>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let with_room = |link: &Arc<Link>| Some((Arc::clone(link), Some(link.try_room()?)));
        if let Some(found) = links.iter().find_map(with_room) {
            return found;
        }
        if links.len() >= LINKS
            && let Some(last) = links.last()
        {
            return (Arc::clone(last), None);
        }
        let (options, pins) = (Arc::clone(&self.options), Arc::clone(&self.pins));
        let fresh = Arc::new(Link::new(self.endpoint.clone(), options, pins));
        links.push(Arc::clone(&fresh));
        let room = fresh.try_room();
        (fresh, room)
    }
}
