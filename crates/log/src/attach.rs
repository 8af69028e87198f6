//! One attached reader: replay from the store, then the live stream, without gap or repetition.
//!
//! ```text
//! subscribe ─▶ replay blocks from the store ─▶ caught-up + text being typed ─▶ tail of the ring
//!                 ▲        │ the ring lapped us meanwhile                          │ lapped: cut off
//!                 └────────┘                                                       ▼
//! ```
//!
//! Subscribing comes first. Whatever was published before that was committed before, so the replay reads it;
//! whatever is published later is in the ring from the noted position on. An event in both is recognised by its
//! `seq`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

use crate::canonical;
use crate::live::{RingEntry, Subscription};
use crate::store::{PendingRead, Reader, ReplayPage, Shared};
use breakglass_model::{Frame, IncidentId, TurnNumber};

/// One reader of an incident: a stream of ready SSE bytes.
///
/// It sends the events after the requested one, then `event: caught-up` with the `seq` reached, the text being
/// typed, a warning if the store is failing, and from then on live events. It ends after the incident's last event,
/// on shutdown, or when the reader lags too far behind: the reader then resumes from the last `id` it received.
pub struct Attachment(Pin<Box<dyn Stream<Item = Bytes> + Send>>);

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").finish_non_exhaustive()
    }
}

impl Stream for Attachment {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl Attachment {
    pub(crate) fn new(
        incident: IncidentId,
        number: i64,
        after: u64,
        reader: Reader,
        live: Subscription,
        shared: Arc<Shared>,
    ) -> Attachment {
        let position = live.end();
        let reading = Reading {
            incident,
            number,
            last: after,
            position,
            reader,
            live,
            shared,
            phase: Phase::Replay,
            ahead: None,
            typed: false,
        };
        let step = |mut reading: Reading| async move {
            reading.next().await.map(|bytes| (bytes, reading))
        };
        Attachment(Box::pin(futures_util::stream::unfold(reading, step)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Replay,
    /// The store has been read to its end; `closed`: no event follows.
    Join {
        closed: bool,
    },
    Tail,
    Over,
}

struct Reading {
    incident: IncidentId,
    number: i64,
    /// The last `seq` sent.
    last: u64,
    /// The next position in the ring.
    position: u64,
    reader: Reader,
    live: Subscription,
    shared: Arc<Shared>,
    phase: Phase,
    /// The next page, read while the current one is being sent.
    ahead: Option<PendingRead<ReplayPage>>,
    /// The reader received a snapshot, and no event has replaced it yet.
    typed: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let bytes = match self.phase {
                Phase::Replay => self.replay().await?,
                Phase::Join { closed } => self.join(closed),
                Phase::Tail => self.tail().await?,
                Phase::Over => return None,
            };
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
    }

    async fn replay(&mut self) -> Option<Bytes> {
        let read = match self.ahead.take() {
            Some(pending) => crate::store::receive(pending).await,
            None => self.reader.replay_page(self.number, self.last).await,
        };
        let page = read
            .inspect_err(
                |error| tracing::warn!(incident = %self.incident, %error, "a replay ended early"),
            )
            .ok()?;
        self.last = page.last;
        if page.more {
            self.ahead = self.reader.prefetch_page(self.number, self.last);
        } else {
            self.phase = Phase::Join {
                closed: page.closed,
            };
        }
        Some(page.bytes)
    }

    /// Switches from the store to the ring, in one view of it.
    fn join(&mut self, closed: bool) -> Bytes {
        let view = self.live.view(self.position, true);
        self.position = view.end;
        let Some(entries) = view.entries else {
            self.phase = Phase::Replay;
            return Bytes::new();
        };
        let mut out = Vec::new();
        // Frames that are not kept are part of the snapshot.
        entries
            .iter()
            .filter(|entry| entry.seq.is_some())
            .for_each(|entry| self.take(entry, &mut out));
        let caught_up = format!("event: caught-up\ndata: {{\"seq\":{}}}\n\n", self.last);
        out.extend_from_slice(caught_up.as_bytes());
        if let Some((turn, text)) = view.snapshot.filter(|_| !closed) {
            self.typed = true;
            out.extend_from_slice(&canonical::ephemeral(&Frame::TextSnapshot { turn, text }));
        }
        if let Some(warning) = self.shared.health.warning() {
            out.extend_from_slice(&canonical::ephemeral(&warning));
        }
        self.phase = if closed || view.ended {
            Phase::Over
        } else {
            Phase::Tail
        };
        Bytes::from(out)
    }

    async fn tail(&mut self) -> Option<Bytes> {
        let view = self.live.view(self.position, false);
        let Some(entries) = view.entries else {
            self.shared.metrics.lagging.inc();
            return None;
        };
        if entries.is_empty() {
            if view.ended {
                return None;
            }
            self.live.wait().await;
            return Some(Bytes::new());
        }
        self.position = view.end;
        if let [only] = entries.as_slice()
            && only.seq.is_none_or(|seq| seq == self.last + 1)
        {
            // The usual case: the ring's own bytes, shared by all readers.
            self.last = only.seq.unwrap_or(self.last);
            self.typed &= only.replaces_text_of.is_none();
            return Some(only.bytes.clone());
        }
        let mut out = Vec::with_capacity(entries.iter().map(|entry| entry.bytes.len()).sum());
        entries.iter().for_each(|entry| self.take(entry, &mut out));
        Some(Bytes::from(out))
    }

    /// Appends the entry, unless the reader has it already.
    fn take(&mut self, entry: &RingEntry, out: &mut Vec<u8>) {
        let known = entry.seq.is_some_and(|seq| seq <= self.last);
        if !known {
            out.extend_from_slice(&entry.bytes);
            self.last = entry.seq.unwrap_or(self.last);
            self.typed &= entry.replaces_text_of.is_none();
        } else if let Some(turn) = entry.replaces_text_of.filter(|_| self.typed) {
            self.clear_typed(turn, out);
        }
    }

    /// The text was replayed before the snapshot was taken: replaces the snapshot by an empty one.
    fn clear_typed(&mut self, turn: TurnNumber, out: &mut Vec<u8>) {
        self.typed = false;
        out.extend_from_slice(&canonical::ephemeral(&Frame::TextSnapshot {
            turn,
            text: String::new(),
        }));
    }
}
