use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::watch;

use crate::{
    Actor, Event, EventBody, Frame, IncidentId, IncidentSummary, JournalError, Options, Recovered,
};

/// The incident log. Cheap to clone; every clone is the same log.
#[derive(Clone)]
pub struct Journal {
    degraded: Arc<watch::Sender<Option<String>>>,
}

/// One reader: a stream of ready SSE bytes.
pub struct Attachment {}

impl Stream for Attachment {
    type Item = Bytes;
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Poll::Ready(None)
    }
}

#[allow(missing_docs, clippy::unused_async)]
impl Journal {
    pub fn open(_options: Options) -> Journal {
        Journal {
            degraded: Arc::new(watch::Sender::new(None)),
        }
    }
    pub fn degraded(&self) -> Option<String> {
        self.degraded.borrow().clone()
    }
    pub fn watch_degraded(&self) -> watch::Receiver<Option<String>> {
        self.degraded.subscribe()
    }
    pub async fn open_incident(
        &self,
        _target: &str,
        _actor: Actor,
        _drill: bool,
    ) -> Result<IncidentId, JournalError> {
        Err(JournalError::Stopped)
    }
    pub async fn append(
        &self,
        _incident: IncidentId,
        _actor: Actor,
        _body: EventBody,
    ) -> Result<u64, JournalError> {
        Err(JournalError::Stopped)
    }
    pub async fn record(&self, _incident: IncidentId, _actor: Actor, _body: EventBody) {}
    pub fn publish(&self, _incident: IncidentId, _frame: Frame) {}
    pub fn attach(&self, _incident: IncidentId, _after: u64) -> Result<Attachment, JournalError> {
        Err(JournalError::Stopped)
    }
    pub async fn incidents(&self) -> Result<Vec<IncidentSummary>, JournalError> {
        Err(JournalError::Stopped)
    }
    pub async fn incident(
        &self,
        _incident: IncidentId,
    ) -> Result<Option<IncidentSummary>, JournalError> {
        Err(JournalError::Stopped)
    }
    pub async fn events(
        &self,
        _incident: IncidentId,
        _after: u64,
        _limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        Err(JournalError::Stopped)
    }
    pub async fn open_incident_for(
        &self,
        _target: &str,
    ) -> Result<Option<IncidentId>, JournalError> {
        Err(JournalError::Stopped)
    }
    /// `None`: the key is new and now remembered with `value`; `Some`: what it was remembered with.
    pub async fn remember(&self, _key: &str, _value: &str) -> Result<Option<String>, JournalError> {
        Err(JournalError::Stopped)
    }
    pub fn readers(&self, _incident: IncidentId) -> usize {
        0
    }
    pub async fn recover(&self) -> Result<Recovered, JournalError> {
        Err(JournalError::Stopped)
    }
    pub fn shutdown(&self) {}
}
