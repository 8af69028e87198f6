//! Writes an operation's events into its incident, without ever delaying the operation.

use std::collections::VecDeque;
use std::sync::Arc;

use breakglass_log::Log;
use breakglass_model::{Actor, EventBody, IncidentId, OutputStream};
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::table::Operation;

/// Maximum number of events buffered for the log.
const BUFFERED_EVENTS_MAX: usize = 1024;
/// Number of lines that are written as they arrive; of the lines after them only the last are kept.
const HEAD_LINES: u64 = 1000;
const TAIL_LINES: usize = 50;
/// Number of events passed to the log at once, in order.
const BATCH_EVENTS: usize = 30;

/// An event on its way to the log.
pub(crate) type PendingEvent = (Actor, EventBody);

/// Buffers an operation's events.
#[derive(Debug)]
pub(crate) struct EventWriter {
    operation: Arc<Operation>,
    events: mpsc::Sender<PendingEvent>,
    written: u64,
    total: u64,
    tail: VecDeque<EventBody>,
}

impl EventWriter {
    /// A writer, and the buffered events for [`write_events`].
    pub(crate) fn new(operation: Arc<Operation>) -> (EventWriter, mpsc::Receiver<PendingEvent>) {
        let (events, buffered) = mpsc::channel(BUFFERED_EVENTS_MAX);
        let writer = EventWriter {
            operation,
            events,
            written: 0,
            total: 0,
            tail: VecDeque::new(),
        };
        (writer, buffered)
    }

    /// Adds a line of output without waiting. If the buffer or the head is full, only the last lines are kept.
    pub(crate) fn line(&mut self, stream: OutputStream, line: &str) {
        self.operation.push(stream, line);
        self.total += 1;
        let operation = self.operation.id;
        let mut body = EventBody::VerbOutput {
            operation,
            stream,
            line: line.to_owned(),
        };
        if self.tail.is_empty() && self.written < HEAD_LINES {
            match self.events.try_send((Actor::System, body)) {
                Ok(()) => {
                    self.written += 1;
                    return;
                }
                Err(full) => body = full.into_inner().1,
            }
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(body);
    }

    /// Writes the last lines, and returns how many lines are missing before them.
    pub(crate) async fn flush(&mut self) -> u64 {
        while let Some(body) = self.tail.pop_front() {
            self.event(Actor::System, body).await;
            self.written += 1;
        }
        self.total - self.written
    }

    /// Adds an event; waits while the buffer is full. The event is lost if the log has gone away.
    pub(crate) async fn event(&self, actor: Actor, body: EventBody) {
        let _log_is_gone = self.events.send((actor, body)).await;
    }
}

/// Writes buffered events into `incident` until their writer is dropped.
pub(crate) async fn write_events(
    log: &Log,
    incident: IncidentId,
    mut buffered: mpsc::Receiver<PendingEvent>,
) {
    let mut batch = Vec::with_capacity(BATCH_EVENTS);
    while buffered.recv_many(&mut batch, BATCH_EVENTS).await > 0 {
        // The log queues each event when it is first polled, so the order is kept.
        let writing = batch
            .drain(..)
            .map(|(actor, body)| log.record(incident, actor, body));
        join_all(writing).await;
    }
}
