//! [`Log`] and everything that reads through it; `open` opens it and `write` appends to it.

use std::fmt;
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::attach::Attachment;
use crate::line_shipper::LineShipper;
use crate::store::{self, Command, Reader, Shared};
use crate::{Export, IncidentSummary, LogError, Tombstone};
use breakglass_model::{Event, Frame, IncidentId};

/// How long a shutdown waits until the queue is written.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of events in one answer.
const EVENTS_MAX: usize = 10_000;

/// The incident log. Cheap to clone; every clone is the same log.
#[derive(Clone)]
pub struct Log(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) commands: Mutex<Option<mpsc::Sender<Command>>>,
    /// Disconnected once the writer has ended.
    pub(crate) drained: Mutex<blocking::Receiver<()>>,
    pub(crate) reader: Reader,
    pub(crate) shared: Arc<Shared>,
    /// Writes events that could not be recorded.
    pub(crate) unrecorded: LineShipper,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("degraded", &self.degraded())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Why events are not being recorded durably, as a sentence; `None` while they are.
    #[must_use]
    pub fn degraded(&self) -> Option<String> {
        self.0.shared.health.sentence()
    }

    /// Follows [`Log::degraded`].
    #[must_use]
    pub fn watch_degraded(&self) -> watch::Receiver<Option<String>> {
        self.0.shared.health.watch()
    }

    /// Registers the log's own metrics.
    pub fn register(&self, metrics: &mut Registry) {
        self.0.shared.metrics.register(metrics);
    }

    /// Publishes a frame that is not kept to attached readers; keeps the text being typed for readers that join.
    // By value like the other methods: a frame is made to be given away.
    #[allow(clippy::needless_pass_by_value)]
    pub fn publish(&self, incident: IncidentId, frame: Frame) {
        self.0.shared.live.publish_frame(incident, &frame);
    }

    /// Attaches a reader that has seen everything up to `after` (`0`: nothing).
    ///
    /// # Errors
    /// [`LogError::NotFound`].
    pub fn attach(&self, incident: IncidentId, after: u64) -> Result<Attachment, LogError> {
        let number = self.number(incident)?;
        let live = self.0.shared.live.subscribe(incident);
        Ok(Attachment::new(
            incident,
            number,
            after,
            self.0.reader.clone(),
            live,
            Arc::clone(&self.0.shared),
        ))
    }

    /// The number of readers attached to an incident.
    #[must_use]
    pub fn readers(&self, incident: IncidentId) -> usize {
        self.0.shared.live.readers(incident)
    }

    /// The newest 1,000 incidents, newest first.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn incidents(&self) -> Result<Vec<IncidentSummary>, LogError> {
        self.0.reader.ask(store::list).await
    }

    /// One incident, if it exists.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn incident(
        &self,
        incident: IncidentId,
    ) -> Result<Option<IncidentSummary>, LogError> {
        let query = move |connection: &_| store::one(connection, incident);
        self.0.reader.ask(query).await
    }

    /// The newest 64 open incidents of a target, newest first. Cheap enough to ask every second.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn open_incidents(&self, target: &str) -> Result<Vec<IncidentId>, LogError> {
        let target = target.to_owned();
        let query = move |connection: &_| store::open_of(connection, &target);
        self.0.reader.ask(query).await
    }

    /// The newest open incident of a target.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn open_incident_for(&self, target: &str) -> Result<Option<IncidentId>, LogError> {
        Ok(self.open_incidents(target).await?.first().copied())
    }

    /// The events after `after`, in order; at most `limit` and at most 10,000. See [`Log::read`] for all of them.
    ///
    /// # Errors
    /// [`LogError::NotFound`], [`LogError::Unreadable`].
    pub async fn events(
        &self,
        incident: IncidentId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, LogError> {
        self.number(incident)?;
        let mut events = Vec::new();
        let mut cursor = self.read(incident, after);
        while events.len() < limit.min(EVENTS_MAX)
            && let Some(event) = cursor.next().await?
        {
            events.push(event);
        }
        Ok(events)
    }

    /// The tombstone of an incident that retention removed.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    pub async fn tombstone(&self, incident: IncidentId) -> Result<Option<Tombstone>, LogError> {
        let query = move |connection: &_| store::tombstone_of(connection, incident);
        self.0.reader.ask(query).await
    }

    /// An incident's log up to its current end, as a file for another log: see [`Export`].
    ///
    /// # Errors
    /// [`LogError::NotFound`], [`LogError::Unreadable`].
    pub async fn export(&self, incident: IncidentId) -> Result<Export, LogError> {
        Export::begin(incident, self.0.reader.clone()).await
    }

    /// Writes the queue, then ends every stream. Blocks for 5 s at most.
    pub fn shutdown(&self) {
        drop(self.0.commands.lock().take());
        let drained = self.0.drained.lock();
        if drained.recv_timeout(SHUTDOWN_TIMEOUT) == Err(blocking::RecvTimeoutError::Timeout) {
            tracing::warn!("the incident log could not write its whole queue before the end");
        }
        drop(drained);
        self.0.shared.live.end();
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.0.reader
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    pub(crate) fn number(&self, incident: IncidentId) -> Result<i64, LogError> {
        let number = self.0.shared.numbers.get(incident);
        number.ok_or(LogError::NotFound { incident })
    }
}
