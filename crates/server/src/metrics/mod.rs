//! The server's metrics as Prometheus text.
//!
//! ```text
//! log (appends, readers) ──────────────┐
//! control (connections over SSH) ──────┤
//! completions (verbs, turns, …) ───────┼─ Metrics ─┐
//! listener (refused connections) ──────┘           ├─ GET /metrics
//! snapshot (gauges, read at each scrape) ──────────┘
//! ```
//! Every crate counts its own work without knowing this module. Label values come from closed sets
//! and the names of configured targets, so the size of a scrape is bounded.

mod completions;
mod snapshot;

use std::sync::Arc;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

pub use completions::CompletionCounters;
pub(crate) use snapshot::Snapshot;

/// The `Content-Type` of the metrics.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The listener's counters of refused and stalled connections.
#[derive(Debug, Clone, Default)]
pub struct ListenerCounters {
    /// Connections refused because too many were open.
    pub refused: Counter,
    /// Connections closed because their client stopped reading or disappeared.
    pub stalled: Counter,
}

impl ListenerCounters {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "refused_connections",
            "Connections refused because too many were open",
            self.refused.clone(),
        );
        registry.register(
            "stalled_connections",
            "Connections closed because their client stopped reading or disappeared",
            self.stalled.clone(),
        );
    }
}

/// All counters since the start of the server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Registry>);

impl Metrics {
    /// `register` adds the metrics of other crates.
    pub(crate) fn new(
        register: impl FnOnce(&mut Registry),
        completions: &CompletionCounters,
        listener: &ListenerCounters,
    ) -> Metrics {
        let mut registry = Registry::with_prefix("breakglass");
        completions.register(&mut registry);
        register(&mut registry);
        listener.register(&mut registry);
        Metrics(Arc::new(registry))
    }

    /// The counters and the gauges of `snapshot` in the Prometheus text format.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub(crate) fn text(&self, snapshot: &Snapshot) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0)?;
        prometheus_text::encode(&mut text, &snapshot.registry())?;
        Ok(text)
    }
}
