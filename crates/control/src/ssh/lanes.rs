//! The warm connections to one endpoint: as many as its sshd makes necessary.
//!
//! sshd grants so many sessions on one connection (`MaxSessions`), usually ten. Where it grants fewer,
//! which is learned when it refuses one, more connections are made, up to a bound; then who comes waits
//! for whichever session ends first. Of the last connections one is kept for people and one for what can't
//! wait:
//!
//! ```text
//!   few sessions:  │ 1 │ 2 │ … │ n-1 │  n  │ n+1 │
//!   Patient        └───────────────┘
//!   Now            └─────────────────────┘
//!   First          └───────────────────────────┘
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::select_all;
use russh::Channel;
use russh::client::Msg;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::SshOptions;
use super::error::{SshError, Stage};
use super::exec::{Exit, Order, RawSink, Sink};
use super::host_keys::HostKeys;
use super::pool::{Link, SESSIONS, Urgency};
use crate::target::Endpoint;
use crate::text::Lines;
use breakglass_model::OutputStream;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Width {
    /// As a rule.
    pub(crate) usual: usize,
    /// Where sshd grants few sessions on each.
    pub(crate) few: usize,
}

/// Of people and watchers.
pub(crate) const PEOPLE: Width = Width { usual: 1, few: 4 };

/// The way to one endpoint.
pub(crate) struct Lanes {
    pub(crate) endpoint: Endpoint,
    options: Arc<SshOptions>,
    pins: Arc<HostKeys>,
    width: Width,
    links: Mutex<Vec<Arc<Link>>>,
}

/// A session on the endpoint, and the room that it takes.
pub struct OpenSession {
    /// The channel.
    pub channel: Channel<Msg>,
    link: Arc<Link>,
    pub(crate) _room: OwnedSemaphorePermit,
}

enum Room {
    On(Arc<Link>, OwnedSemaphorePermit),
    /// All of these are full.
    None(Vec<Arc<Link>>),
}

impl Lanes {
    pub(crate) fn new(
        endpoint: Endpoint,
        options: Arc<SshOptions>,
        pins: Arc<HostKeys>,
        width: Width,
    ) -> Lanes {
        let links = Mutex::default();
        Lanes {
            endpoint,
            options,
            pins,
            width,
            links,
        }
    }

    /// Dials the first connection, so that the first command need not wait for it.
    pub(crate) async fn warm(&self) -> Result<(), SshError> {
        match self.room(Urgency::Now) {
            Room::On(link, _room) => link.connection(Urgency::Now).await.map(drop),
            Room::None(_) => Ok(()),
        }
    }

    /// A new session. Waits for room until `room_by`, and from then on at most `limit`.
    pub(crate) async fn open(
        &self,
        urgency: Urgency,
        (room_by, limit): (Instant, Duration),
    ) -> Result<OpenSession, SshError> {
        let began = Instant::now();
        loop {
            let (link, room) = match self.room(urgency) {
                Room::On(link, room) => (link, room),
                Room::None(full) => timeout_at(room_by, first_free(full))
                    .await
                    .map_err(|_| self.crowded(began.elapsed()))?,
            };
            let late = || SshError::TimedOut {
                endpoint: self.endpoint.clone(),
                stage: Stage::Opening,
                after: limit,
            };
            let opened = timeout_at(Instant::now() + limit, link.open(urgency, room)).await;
            // Without a channel its connection had less room than was thought, and now knows it.
            if let Some((channel, _room)) = opened.map_err(|_| late())?? {
                return Ok(OpenSession {
                    channel,
                    link,
                    _room,
                });
            }
        }
    }

    /// Runs one command like [`Lanes::exec_raw`]; hands out its output line by line, made harmless.
    pub(crate) async fn exec(&self, order: Order<'_>, sink: Sink<'_>) -> Result<Exit, SshError> {
        let (mut stdout, mut stderr) = (Lines::default(), Lines::default());
        let mut cut = |stream: OutputStream, bytes: &[u8]| match stream {
            OutputStream::Stdout => stdout.push(bytes, &mut |line| sink(stream, line)),
            OutputStream::Stderr => stderr.push(bytes, &mut |line| sink(stream, line)),
        };
        let exit = self.exec_raw(order, &mut cut).await;
        stdout.finish(&mut |line| sink(OutputStream::Stdout, line));
        stderr.finish(&mut |line| sink(OutputStream::Stderr, line));
        exit
    }

    /// Runs one command to its end or its deadline. Dropping the future closes the channel.
    ///
    /// A warm connection that proves dead when the channel is opened is replaced once, at once:
    /// until then the command has not been sent.
    pub(crate) async fn exec_raw(
        &self,
        order: Order<'_>,
        sink: RawSink<'_>,
    ) -> Result<Exit, SshError> {
        let end = Instant::now() + order.deadline;
        let opening = self.open(order.urgency, (end, order.deadline));
        let late = |stage| SshError::TimedOut {
            endpoint: self.endpoint.clone(),
            stage,
            after: order.deadline,
        };
        let opened = timeout_at(end, opening).await;
        let OpenSession {
            channel,
            link,
            _room,
        } = match opened {
            Ok(opened) => opened?,
            Err(_) => return Err(self.why_full(order).unwrap_or_else(|| late(Stage::Opening))),
        };
        let running = link.run(channel, order.command, sink);
        timeout_at(end, running)
            .await
            .map_err(|_| late(Stage::Running))?
    }

    fn why_full(&self, order: Order<'_>) -> Option<SshError> {
        match self.room(order.urgency) {
            Room::On(..) => None,
            Room::None(_) => Some(self.crowded(order.deadline)),
        }
    }

    fn crowded(&self, after: Duration) -> SshError {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        SshError::Crowded {
            endpoint: self.endpoint.clone(),
            granted: sessions(&links),
            after,
        }
    }

    /// Room on the first connection that has some, or on a new one.
    fn room(&self, urgency: Urgency) -> Room {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let granted = links.iter().map(|link| link.granted()).min();
        let granted = granted.unwrap_or(SESSIONS);
        let most = self.width.most(granted < SESSIONS, urgency);
        let with_room = |link: &Arc<Link>| Some((Arc::clone(link), link.try_room()?));
        if let Some((link, room)) = links.iter().take(most).find_map(with_room) {
            return Room::On(link, room);
        }
        if links.len() >= most {
            return Room::None(links.iter().take(most).cloned().collect());
        }
        let (options, pins) = (Arc::clone(&self.options), Arc::clone(&self.pins));
        let fresh = Arc::new(Link::new(self.endpoint.clone(), options, pins, granted));
        links.push(Arc::clone(&fresh));
        match fresh.try_room() {
            Some(room) => Room::On(fresh, room),
            None => Room::None(vec![fresh]),
        }
    }
}

impl Width {
    fn most(self, few: bool, urgency: Urgency) -> usize {
        let most = if few { self.few } else { self.usual };
        match urgency {
            Urgency::Patient if few => most - 1,
            Urgency::Patient | Urgency::Now => most,
            Urgency::First => most + 1,
        }
    }
}

/// Whoever came first to each of them is served first.
async fn first_free(full: Vec<Arc<Link>>) -> (Arc<Link>, OwnedSemaphorePermit) {
    let waiting = full.into_iter().map(|link| {
        Box::pin(async move {
            let room = link.wait_for_room().await;
            (link, room)
        })
    });
    select_all(waiting).await.0
}

fn sessions(links: &[Arc<Link>]) -> String {
    let granted = links.iter().map(|link| link.granted()).min();
    let connections = links.len();
    match granted.unwrap_or(SESSIONS) {
        1 => {
            format!("1 session at a time on a connection, and {connections} connections are in use")
        }
        some => {
            format!("{some} sessions on a connection, and {connections} connections are in use")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_a_connection_that_no_watcher_takes_and_power_one_that_nobody_takes() {
        let most = |few, urgency| PEOPLE.most(few, urgency);
        for few in [false, true] {
            assert!(most(few, Urgency::First) > most(few, Urgency::Now));
            assert!(most(few, Urgency::Patient) >= 1);
        }
        assert!(most(true, Urgency::Now) > most(true, Urgency::Patient));
        assert_eq!(most(false, Urgency::Now), 1);
    }
}
