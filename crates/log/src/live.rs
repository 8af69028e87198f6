//! Live streams: what happens now, for attached readers.
//!
//! Each incident has a bounded ring of ready SSE frames and a watch that only says "it moved". Readers pull from the
//! ring at their own pace; one that falls too far behind is disconnected. Nothing here waits for a reader. Without
//! readers, only the text that is being typed is kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use breakglass_model::{Frame, IncidentId, TurnNumber};

/// Maximum number of bytes kept of the text being typed; the durable event contains all of it.
const SNAPSHOT_BYTES_MAX: usize = 256 * 1024;

/// A frame in the ring.
#[derive(Debug, Clone)]
pub(crate) struct RingEntry {
    /// Its number in the log, if it is durable.
    pub(crate) seq: Option<u64>,
    /// The turn whose typed text it replaces.
    pub(crate) replaces_text_of: Option<TurnNumber>,
    pub(crate) bytes: Bytes,
}

/// The size limits of a ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingLimits {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<RingEntry>,
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

    fn push(&mut self, entry: RingEntry, limits: RingLimits) {
        self.bytes += entry.bytes.len();
        self.entries.push_back(entry);
        while self.entries.len() > limits.frames || self.bytes > limits.bytes {
            let Some(old) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= old.bytes.len();
            self.first += 1;
        }
    }

    fn since(&self, position: u64) -> Option<Vec<RingEntry>> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        Some(self.entries.iter().skip(skip).cloned().collect())
    }

    fn append_typed(&mut self, turn: TurnNumber, text: &str) {
        match &mut self.snapshot {
            Some((of, so_far)) if *of == turn => {
                if so_far.len() + text.len() <= SNAPSHOT_BYTES_MAX {
                    so_far.push_str(text);
                }
            }
            other => *other = Some((turn, text.to_owned())),
        }
    }
}

/// The live stream of one incident.
#[derive(Debug)]
struct LiveStream {
    ring: Mutex<Ring>,
    moved: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct StreamMap {
    by_incident: HashMap<IncidentId, Arc<LiveStream>>,
    ended: bool,
}

impl StreamMap {
    fn stream(&mut self, incident: IncidentId) -> Arc<LiveStream> {
        let stream = self.by_incident.entry(incident).or_insert_with(|| {
            Arc::new(LiveStream {
                ring: Mutex::default(),
                moved: watch::Sender::new(()),
            })
        });
        Arc::clone(stream)
    }
}

/// A durable event for the readers of its incident.
pub(crate) struct DurableFrame {
    pub(crate) incident: IncidentId,
    pub(crate) seq: u64,
    pub(crate) replaces_text_of: Option<TurnNumber>,
    /// No event follows.
    pub(crate) is_last: bool,
}

/// The live streams of all incidents that have a reader or whose agent is typing.
#[derive(Debug)]
pub(crate) struct LiveStreams {
    streams: Mutex<StreamMap>,
    limits: RingLimits,
}

impl LiveStreams {
    pub(crate) fn new(limits: RingLimits) -> LiveStreams {
        LiveStreams {
            streams: Mutex::default(),
            limits,
        }
    }

    /// Publishes an event that is committed. `render` is called only if there is a reader.
    pub(crate) fn publish_event(&self, frame: &DurableFrame, render: impl FnOnce() -> Bytes) {
        let mut streams = self.streams.lock();
        let Some(stream) = streams.by_incident.get(&frame.incident).cloned() else {
            return;
        };
        let mut ring = stream.ring.lock();
        if frame.replaces_text_of.is_some() {
            ring.snapshot = None;
        }
        ring.ended |= frame.is_last;
        if ring.readers > 0 {
            let entry = RingEntry {
                seq: Some(frame.seq),
                replaces_text_of: frame.replaces_text_of,
                bytes: render(),
            };
            ring.push(entry, self.limits);
        } else if ring.snapshot.is_none() {
            streams.by_incident.remove(&frame.incident);
        }
        drop((ring, streams));
        stream.moved.send_replace(());
    }

    /// Publishes a frame that is not kept.
    pub(crate) fn publish_frame(&self, incident: IncidentId, frame: &Frame) {
        let mut streams = self.streams.lock();
        let stream = match frame {
            Frame::TextDelta { .. } if !streams.ended => streams.stream(incident),
            _ => match streams.by_incident.get(&incident) {
                Some(stream) => Arc::clone(stream),
                None => return,
            },
        };
        let mut ring = stream.ring.lock();
        if let Frame::TextDelta { turn, text } = frame {
            ring.append_typed(*turn, text);
        }
        if ring.readers == 0 {
            return;
        }
        let entry = RingEntry {
            seq: None,
            replaces_text_of: None,
            bytes: Bytes::from(crate::canonical::ephemeral(frame)),
        };
        ring.push(entry, self.limits);
        drop((ring, streams));
        stream.moved.send_replace(());
    }

    /// Publishes a frame to every reader of every incident.
    pub(crate) fn publish_to_all(&self, frame: &Frame) {
        let incidents: Vec<IncidentId> = self.streams.lock().by_incident.keys().copied().collect();
        for incident in incidents {
            self.publish_frame(incident, frame);
        }
    }

    pub(crate) fn readers(&self, incident: IncidentId) -> usize {
        let streams = self.streams.lock();
        let stream = streams.by_incident.get(&incident);
        stream.map_or(0, |stream| stream.ring.lock().readers)
    }

    pub(crate) fn subscribe(self: &Arc<Self>, incident: IncidentId) -> Subscription {
        let mut streams = self.streams.lock();
        let stream = streams.stream(incident);
        let mut ring = stream.ring.lock();
        ring.readers += 1;
        ring.ended |= streams.ended;
        drop((ring, streams));
        let moved = stream.moved.subscribe();
        Subscription {
            all: Arc::clone(self),
            incident,
            stream,
            moved,
        }
    }

    /// Ends every stream after the frames that are in its ring.
    pub(crate) fn end(&self) {
        let mut streams = self.streams.lock();
        streams.ended = true;
        for stream in streams.by_incident.values() {
            stream.ring.lock().ended = true;
            stream.moved.send_replace(());
        }
    }
}

/// One reader's subscription to an incident's ring.
#[derive(Debug)]
pub(crate) struct Subscription {
    all: Arc<LiveStreams>,
    incident: IncidentId,
    stream: Arc<LiveStream>,
    moved: watch::Receiver<()>,
}

/// The content of a ring from a reader's position on.
pub(crate) struct RingView {
    /// `None`: the position is no longer in the ring.
    pub(crate) entries: Option<Vec<RingEntry>>,
    /// Where to continue.
    pub(crate) end: u64,
    /// The text being typed.
    pub(crate) snapshot: Option<(TurnNumber, String)>,
    /// Nothing follows these entries.
    pub(crate) ended: bool,
}

impl Subscription {
    /// The position after the newest entry.
    pub(crate) fn end(&self) -> u64 {
        self.stream.ring.lock().end()
    }

    /// Everything from `position` on; with the text being typed at the same moment, if wanted.
    pub(crate) fn view(&mut self, position: u64, with_snapshot: bool) -> RingView {
        self.moved.borrow_and_update();
        let ring = self.stream.ring.lock();
        RingView {
            entries: ring.since(position),
            end: ring.end(),
            snapshot: ring.snapshot.as_ref().filter(|_| with_snapshot).cloned(),
            ended: ring.ended,
        }
    }

    /// Waits until the ring has moved since the last view.
    pub(crate) async fn wait(&mut self) {
        // The sender lives in `stream`, which this reader owns a part of, so it is never closed.
        let _ = self.moved.changed().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut streams = self.all.streams.lock();
        let mut ring = self.stream.ring.lock();
        ring.readers -= 1;
        if ring.readers > 0 {
            return;
        }
        ring.first = ring.end();
        ring.entries = VecDeque::new();
        ring.bytes = 0;
        let is_idle = ring.snapshot.is_none();
        let current = streams.by_incident.get(&self.incident);
        let is_current = current.is_some_and(|stream| Arc::ptr_eq(stream, &self.stream));
        if is_idle && is_current {
            streams.by_incident.remove(&self.incident);
        }
    }
}
