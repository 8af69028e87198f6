//! One reader: replay, then tail, without gap or repetition.
//!
//! ```text
//! subscribe ─▶ replay blocks from the store ─▶ caught-up + text being typed ─▶ tail of the ring
//!                 ▲        │ the ring lapped us meanwhile                          │ lapped: cut off
//!                 └────────┘                                                       ▼
//! ```
//!
//! Subscribing comes first. What was shown before it was committed before it, so the replay reads
//! it; what is shown after it is in the ring from the noted position on. What is in both is told
//! by its `seq`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;

use crate::canonical;
use crate::live::{Entry, Subscription};
use crate::store::{Answer, Block, Reader, Shared};
use breakglass_model::Frame;
use breakglass_model::{IncidentId, TurnNumber};

/// One reader of an incident: a stream of ready SSE bytes.
///
/// First the events after the one asked for, then `event: caught-up` with the `seq` reached, then
/// the text that is being typed, if any, and whether the store fails, then what happens. The stream ends after the incident's
/// last event, on shutdown, or when this reader lags too far behind: then it resumes by the last
/// `id` it saw.
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
        let cursor = Cursor {
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
        let step =
            |mut cursor: Cursor| async move { cursor.next().await.map(|bytes| (bytes, cursor)) };
        Attachment(Box::pin(futures_util::stream::unfold(cursor, step)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Replay,
    /// The store has no more; `closed` if the log has ended.
    Join {
        closed: bool,
    },
    Tail,
    Over,
}

struct Cursor {
    incident: IncidentId,
    number: i64,
    /// The last `seq` handed out.
    last: u64,
    /// Where to look next in the ring.
    position: u64,
    reader: Reader,
    live: Subscription,
    shared: Arc<Shared>,
    phase: Phase,
    /// The next block, on its way while this one is being sent.
    ahead: Option<Answer<Block>>,
    /// The reader was given a snapshot, and no event that replaces it yet.
    typed: bool,
}

impl Cursor {
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
            Some(answer) => crate::store::receive(answer).await,
            None => self.reader.block(self.number, self.last).await,
        };
        let block = read
            .inspect_err(
                |error| tracing::warn!(incident = %self.incident, %error, "a replay ended early"),
            )
            .ok()?;
        self.last = block.last;
        if block.more {
            self.ahead = self.reader.block_ahead(self.number, self.last);
        } else {
            self.phase = Phase::Join {
                closed: block.closed,
            };
        }
        Some(block.bytes)
    }

    /// Goes over from the store to the ring, in one look at it.
    fn join(&mut self, closed: bool) -> Bytes {
        let found = self.live.look(self.position, true);
        self.position = found.end;
        let Some(entries) = found.entries else {
            self.phase = Phase::Replay;
            return Bytes::new();
        };
        let mut out = Vec::new();
        // What passed meanwhile is in the snapshot; only what lasts is caught up on.
        entries
            .iter()
            .filter(|entry| entry.seq.is_some())
            .for_each(|entry| self.take(entry, &mut out));
        let caught_up = format!("event: caught-up\ndata: {{\"seq\":{}}}\n\n", self.last);
        out.extend_from_slice(caught_up.as_bytes());
        if let Some((turn, text)) = found.snapshot.filter(|_| !closed) {
            self.typed = true;
            out.extend_from_slice(&canonical::ephemeral(&Frame::TextSnapshot { turn, text }));
        }
        if let Some(warning) = self.shared.health.warning() {
            out.extend_from_slice(&canonical::ephemeral(&warning));
        }
        self.phase = if closed || found.ended {
            Phase::Over
        } else {
            Phase::Tail
        };
        Bytes::from(out)
    }

    async fn tail(&mut self) -> Option<Bytes> {
        let found = self.live.look(self.position, false);
        let Some(entries) = found.entries else {
            self.shared.figures.lagging.inc();
            return None;
        };
        if entries.is_empty() {
            if found.ended {
                return None;
            }
            self.live.wait().await;
            return Some(Bytes::new());
        }
        self.position = found.end;
        if let [only] = entries.as_slice()
            && only.seq.is_none_or(|seq| seq == self.last + 1)
        {
            // The usual case: the ring's own bytes, shared by all readers.
            self.last = only.seq.unwrap_or(self.last);
            self.typed &= only.clears.is_none();
            return Some(only.bytes.clone());
        }
        let mut out = Vec::with_capacity(entries.iter().map(|entry| entry.bytes.len()).sum());
        entries.iter().for_each(|entry| self.take(entry, &mut out));
        Some(Bytes::from(out))
    }

    /// Appends what of an entry this reader does not have yet.
    fn take(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        let known = entry.seq.is_some_and(|seq| seq <= self.last);
        if !known {
            out.extend_from_slice(&entry.bytes);
            self.last = entry.seq.unwrap_or(self.last);
            self.typed &= entry.clears.is_none();
        } else if let Some(turn) = entry.clears.filter(|_| self.typed) {
            self.untype(turn, out);
        }
    }

    /// The block was replayed before its snapshot was looked at: the snapshot is replaced by none.
    fn untype(&mut self, turn: TurnNumber, out: &mut Vec<u8>) {
        self.typed = false;
        out.extend_from_slice(&canonical::ephemeral(&Frame::TextSnapshot {
            turn,
            text: String::new(),
        }));
    }
}
