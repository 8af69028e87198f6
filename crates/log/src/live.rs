//! What happens now, for those who are attached.
//!
//! Per incident: a bounded ring of ready SSE frames and a watch that says only "it moved".
//! Readers pull from the ring at their own pace; whoever falls out of it is cut off. Nothing here
//! waits for a reader, and without readers nothing is kept but the text that is being typed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use breakglass_model::Frame;
use breakglass_model::{IncidentId, TurnNumber};

/// The most bytes that are kept of the text being typed; the durable event brings the whole.
const MAX_SNAPSHOT_BYTES: usize = 256 * 1024;

/// A frame in the ring.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its place in the log, if it is durable.
    pub(crate) seq: Option<u64>,
    /// The turn whose typed text it replaces.
    pub(crate) clears: Option<TurnNumber>,
    pub(crate) bytes: Bytes,
}

/// The bounds of a ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    /// Position of the first entry; positions only grow.
    first: u64,
    bytes: usize,
    snapshot: Option<(TurnNumber, String)>,
    readers: usize,
    ended: bool,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn push(&mut self, entry: Entry, bounds: Bounds) {
        self.bytes += entry.bytes.len();
        self.entries.push_back(entry);
        while self.entries.len() > bounds.frames || self.bytes > bounds.bytes {
            let Some(old) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= old.bytes.len();
            self.first += 1;
        }
    }

    fn since(&self, position: u64) -> Option<Vec<Entry>> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        Some(self.entries.iter().skip(skip).cloned().collect())
    }

    fn type_text(&mut self, turn: TurnNumber, text: &str) {
        match &mut self.snapshot {
            Some((of, so_far)) if *of == turn => {
                if so_far.len() + text.len() <= MAX_SNAPSHOT_BYTES {
                    so_far.push_str(text);
                }
            }
            other => *other = Some((turn, text.to_owned())),
        }
    }
}

#[derive(Debug)]
struct Live {
    ring: Mutex<Ring>,
    moved: watch::Sender<()>,
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        // A panic while the lock was held cannot leave a ring half-changed: every step of it is whole.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Lives {
    by_incident: HashMap<IncidentId, Arc<Live>>,
    ended: bool,
}

/// All incidents that someone is attached to, or whose agent is typing.
#[derive(Debug)]
pub(crate) struct Hub {
    lives: Mutex<Lives>,
    bounds: Bounds,
}

impl Hub {
    pub(crate) fn new(bounds: Bounds) -> Hub {
        Hub {
            lives: Mutex::default(),
            bounds,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a durable event; it is committed already. `render` is called only if someone looks.
    pub(crate) fn show(
        &self,
        incident: IncidentId,
        seq: u64,
        clears: Option<TurnNumber>,
        ends: bool,
        render: impl FnOnce() -> Bytes,
    ) {
        let mut lives = self.lock();
        let Some(live) = lives.by_incident.get(&incident).cloned() else {
            return;
        };
        let mut ring = live.lock();
        if clears.is_some() {
            ring.snapshot = None;
        }
        ring.ended |= ends;
        if ring.readers > 0 {
            ring.push(
                Entry {
                    seq: Some(seq),
                    clears,
                    bytes: render(),
                },
                self.bounds,
            );
        } else if ring.snapshot.is_none() {
            lives.by_incident.remove(&incident);
        }
        drop((ring, lives));
        live.moved.send_replace(());
    }

    /// Shows a frame that passes.
    pub(crate) fn pass(&self, incident: IncidentId, frame: &Frame) {
        let mut lives = self.lock();
        let live = match frame {
            Frame::TextDelta { .. } if !lives.ended => lives.live(incident),
            _ => match lives.by_incident.get(&incident) {
                Some(live) => Arc::clone(live),
                None => return,
            },
        };
        let mut ring = live.lock();
        if let Frame::TextDelta { turn, text } = frame {
            ring.type_text(*turn, text);
        }
        if ring.readers == 0 {
            return;
        }
        let bytes = Bytes::from(crate::canonical::ephemeral(frame));
        ring.push(
            Entry {
                seq: None,
                clears: None,
                bytes,
            },
            self.bounds,
        );
        drop((ring, lives));
        live.moved.send_replace(());
    }

    /// Shows a frame to everyone attached to anything.
    pub(crate) fn pass_to_all(&self, frame: &Frame) {
        let incidents: Vec<IncidentId> = self.lock().by_incident.keys().copied().collect();
        for incident in incidents {
            self.pass(incident, frame);
        }
    }

    pub(crate) fn readers(&self, incident: IncidentId) -> usize {
        self.lock()
            .by_incident
            .get(&incident)
            .map_or(0, |live| live.lock().readers)
    }

    pub(crate) fn subscribe(self: &Arc<Self>, incident: IncidentId) -> Subscription {
        let mut lives = self.lock();
        let live = lives.live(incident);
        let mut ring = live.lock();
        ring.readers += 1;
        ring.ended |= lives.ended;
        drop((ring, lives));
        let moved = live.moved.subscribe();
        Subscription {
            hub: Arc::clone(self),
            incident,
            live,
            moved,
        }
    }

    /// Ends every stream, once each has what is in its ring.
    pub(crate) fn end(&self) {
        let mut lives = self.lock();
        lives.ended = true;
        for live in lives.by_incident.values() {
            live.lock().ended = true;
            live.moved.send_replace(());
        }
    }
}

impl Lives {
    fn live(&mut self, incident: IncidentId) -> Arc<Live> {
        let fresh = || {
            Arc::new(Live {
                ring: Mutex::default(),
                moved: watch::Sender::new(()),
            })
        };
        Arc::clone(self.by_incident.entry(incident).or_insert_with(fresh))
    }
}

/// One reader's hold on an incident's ring.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    incident: IncidentId,
    live: Arc<Live>,
    moved: watch::Receiver<()>,
}

/// What a reader finds at its position.
pub(crate) struct Found {
    /// `None`: the position fell out of the ring.
    pub(crate) entries: Option<Vec<Entry>>,
    /// Where to look next.
    pub(crate) end: u64,
    /// What is being typed.
    pub(crate) snapshot: Option<(TurnNumber, String)>,
    /// Nothing comes after these entries.
    pub(crate) ended: bool,
}

impl Subscription {
    /// The position after the newest entry.
    pub(crate) fn end(&self) -> u64 {
        self.live.lock().end()
    }

    /// All that there is from `position` on, with the text being typed at this very moment
    /// if `typed` asks for it.
    pub(crate) fn look(&mut self, position: u64, typed: bool) -> Found {
        self.moved.borrow_and_update();
        let ring = self.live.lock();
        Found {
            entries: ring.since(position),
            end: ring.end(),
            snapshot: if typed { ring.snapshot.clone() } else { None },
            ended: ring.ended,
        }
    }

    /// Waits until something moved since the last look.
    pub(crate) async fn wait(&mut self) {
        // The sender lives in `live`, which this reader holds: it cannot be gone.
        let _ = self.moved.changed().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut lives = self.hub.lock();
        let mut ring = self.live.lock();
        ring.readers -= 1;
        if ring.readers > 0 {
            return;
        }
        ring.first = ring.end();
        ring.entries = VecDeque::new();
        ring.bytes = 0;
        let idle = ring.snapshot.is_none();
        let mine = lives
            .by_incident
            .get(&self.incident)
            .is_some_and(|live| Arc::ptr_eq(live, &self.live));
        if idle && mine {
            lives.by_incident.remove(&self.incident);
        }
    }
}
