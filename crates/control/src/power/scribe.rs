//! Writes what an operation does into its incident, beside the operation and never in its way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use breakglass_log::Log;
use breakglass_model::{Actor, EventBody, IncidentId, OperationId, OutputStream};
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::table::Operation;

/// Events that may wait for the log.
const WAITING: usize = 1024;
/// Lines that are written as they come; of those after them only the last are.
const HEAD_LINES: u64 = 1000;
const TAIL_LINES: usize = 50;
/// Events that are handed to the log at once, in order.
const BATCH: usize = 30;

/// An event on its way to the log.
pub(crate) type Entry = (Actor, EventBody);

/// The end at which an operation puts its events in.
#[derive(Debug)]
pub(crate) struct Pen {
    operation: Arc<Operation>,
    events: mpsc::Sender<Entry>,
    written: u64,
    total: u64,
    tail: VecDeque<EventBody>,
}

/// A pen, and what it writes to; see [`copy_out`].
pub(crate) fn pen(operation: Arc<Operation>) -> (Pen, mpsc::Receiver<Entry>) {
    let (events, written) = mpsc::channel(WAITING);
    (
        Pen {
            operation,
            events,
            written: 0,
            total: 0,
            tail: VecDeque::new(),
        },
        written,
    )
}

impl Pen {
    /// Takes a line without waiting: what the log can't take in time is kept back, and of that
    /// only the last lines survive.
    pub(crate) fn line(&mut self, stream: OutputStream, line: &str) {
        self.operation.push(stream, line);
        self.total += 1;
        let operation = self.operation.id;
        let body = EventBody::VerbOutput {
            operation,
            stream,
            line: line.to_owned(),
        };
        let body = if self.tail.is_empty() && self.written < HEAD_LINES {
            match self.events.try_send((Actor::System, body)) {
                Ok(()) => {
                    self.written += 1;
                    return;
                }
                Err(full) => full.into_inner().1,
            }
        } else {
            body
        };
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(body);
    }

    /// Writes the lines that were kept back, and gives how many are missing.
    pub(crate) async fn flush(&mut self) -> u64 {
        while let Some(body) = self.tail.pop_front() {
            self.event(Actor::System, body).await;
            self.written += 1;
        }
        self.total - self.written
    }

    /// Waits for room, and writes; a log that has gone away loses it.
    pub(crate) async fn event(&self, actor: Actor, body: EventBody) {
        let _gone = self.events.send((actor, body)).await;
    }
}

/// Copies what a pen wrote into `incident`, until the pen is dropped.
pub(crate) async fn copy_out(log: Log, incident: IncidentId, mut written: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    while written.recv_many(&mut batch, BATCH).await > 0 {
        // Each is queued at the log when it is first polled, so the order is kept.
        join_all(
            batch
                .drain(..)
                .map(|(actor, body)| log.record(incident, actor, body)),
        )
        .await;
    }
}

/// Where the events of an operation go: the given incident, the target's open one, a new one.
/// `None` when the log gives no answer within `limit`.
pub(crate) async fn place(
    log: &Log,
    target: &crate::target::Target,
    actor: &Actor,
    limit: Duration,
) -> Option<IncidentId> {
    let finding = async {
        if let Ok(Some(open)) = log.open_incident_for(&target.name).await {
            return Some(open);
        }
        log.open_incident(&target.name, actor.clone(), target.drill)
            .await
            .ok()
    };
    timeout(limit, finding).await.ok().flatten()
}

/// What an operation is called in the log when there is no incident to hold it: its events then
/// go where unrecorded events go, and still belong together.
pub(crate) const fn stand_in(operation: OperationId) -> IncidentId {
    operation
}
