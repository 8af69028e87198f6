//! What this server measures of itself, as Prometheus text.
//!
//! ```text
//! journal (appends, readers) ─┐
//! control (dials) ────────────┤
//! ends: what the log says ────┼─ Metrics ─┐
//! listener (connections) ─────┘           ├─ GET /metrics
//! now: asked at each scrape ──────────────┘
//! ```
//! Every crate counts its own work and knows nothing of this one. Labels are words out of closed
//! sets and the names of configured targets, so a scrape is bounded whatever anybody sends.

mod ends;
mod now;

use std::sync::Arc;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

pub use ends::Ends;
pub(crate) use now::Now;

/// The `Content-Type` of the text.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// What the listener turned away or cut off.
#[derive(Debug, Clone, Default)]
pub struct Turned {
    /// Connections refused because too many were open.
    pub refused: Counter,
    /// Connections cut off because their client did not read, or was gone.
    pub stalled: Counter,
}

impl Turned {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "refused_connections",
            "Connections refused because too many were open",
            self.refused.clone(),
        );
        registry.register(
            "stalled_connections",
            "Connections cut off because their client did not read, or was gone",
            self.stalled.clone(),
        );
    }
}

/// Everything that counts from the start on. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Registry>);

impl Metrics {
    /// Those of the parts that `register` lists, of what ended, and of the listener.
    pub(crate) fn new(
        register: impl FnOnce(&mut Registry),
        ends: &Ends,
        turned: &Turned,
    ) -> Metrics {
        let mut registry = Registry::with_prefix("breakglass");
        ends.register(&mut registry);
        register(&mut registry);
        turned.register(&mut registry);
        Metrics(Arc::new(registry))
    }

    /// The text, with what is so `now`.
    ///
    /// # Errors
    /// Never in practice: a string takes what is written into it.
    pub(crate) fn text(&self, now: &Now) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0)?;
        prometheus_text::encode(&mut text, &now.registry())?;
        Ok(text)
    }
}
