//! What the writer shares with the rest of the log.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use super::IncidentNumbers;
use super::apply::Applied;
use crate::canonical::{self, StateChange};
use crate::completion::CompletionReporter;
use crate::follow::Unrecorded;
use crate::health::Health;
use crate::line_shipper::LineShipper;
use crate::live::{DurableFrame, LiveStreams};
use crate::metrics::LogMetrics;
use breakglass_model::Time;

/// State that the writer and the callers of the log share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) live: Arc<LiveStreams>,
    pub(crate) health: Health,
    pub(crate) numbers: IncidentNumbers,
    pub(crate) shipper: Option<LineShipper>,
    pub(crate) metrics: LogMetrics,
    pub(crate) completions: CompletionReporter,
    /// Changes with every committed batch.
    pub(crate) appended: watch::Sender<u64>,
    /// Events that could not be recorded.
    pub(crate) unrecorded: broadcast::Sender<Unrecorded>,
}

impl Shared {
    /// Publishes an event that is committed: to metrics, live readers and the line shipper.
    pub(super) fn publish(&self, event: &Applied) {
        self.metrics.committed(event.kind);
        self.completions.report(event.completion.as_ref());
        let json = event.canonical.as_bytes();
        if event.seq == 1 {
            self.numbers.insert(event.incident, event.number);
        }
        let frame = DurableFrame {
            incident: event.incident,
            seq: event.seq,
            replaces_text_of: event.change.replaces_text_of(),
            is_last: event.change == StateChange::IncidentClosed,
        };
        self.live.publish_event(&frame, || {
            let mut sse = Vec::with_capacity(json.len() + 128);
            canonical::sse(&mut sse, event.seq, json, &event.hash);
            Bytes::from(sse)
        });
        if let Some(shipper) = &self.shipper {
            shipper.send(canonical::shipped(event.incident, json, &event.hash));
        }
    }

    /// Notes that the store cannot be written, and warns every reader the first time.
    pub(super) fn report_failing(&self, reason: &str) {
        if !self.health.fail(reason, Time::now()) {
            return;
        }
        tracing::error!(reason, "the incident log cannot be written");
        if let Some(warning) = self.health.warning() {
            self.live.publish_to_all(&warning);
        }
    }
}
