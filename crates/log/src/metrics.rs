//! The log's own metrics.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// One label out of a closed set.
type Label = [(&'static str, &'static str); 1];

/// Upper bounds in seconds: from a fast disk's commit to the longest that an append waits.
const APPEND_SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

#[derive(Debug)]
pub(crate) struct LogMetrics {
    events: Family<Label, Counter>,
    append: Histogram,
    append_failures: Counter,
    unrecorded: Counter,
    pub(crate) lagging: Counter,
    lost: Family<Label, Counter>,
}

impl Default for LogMetrics {
    fn default() -> LogMetrics {
        LogMetrics {
            events: Family::default(),
            append: Histogram::new(APPEND_SECONDS),
            append_failures: Counter::default(),
            unrecorded: Counter::default(),
            lagging: Counter::default(),
            lost: Family::default(),
        }
    }
}

impl LogMetrics {
    pub(crate) fn committed(&self, kind: &'static str) {
        self.events.get_or_create(&[("kind", kind)]).inc();
    }

    pub(crate) fn appended(&self, took: Duration) {
        self.append.observe(took.as_secs_f64());
    }

    pub(crate) fn failed(&self) {
        self.append_failures.inc();
    }

    pub(crate) fn unrecorded(&self) {
        self.unrecorded.inc();
    }

    /// The counter of lines that this output lost.
    pub(crate) fn lost(&self, output: &'static str) -> Counter {
        self.lost.get_or_create_owned(&[("outlet", output)])
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "events",
            "Events that became durable, by kind",
            self.events.clone(),
        );
        registry.register(
            "append_seconds",
            "Time from requesting an append to its acknowledgement",
            self.append.clone(),
        );
        registry.register(
            "append_failures",
            "Appends that the store could not make durable",
            self.append_failures.clone(),
        );
        registry.register(
            "unrecorded_events",
            "Events that were written to standard error because the log could not be written",
            self.unrecorded.clone(),
        );
        registry.register(
            "lagging_readers",
            "Readers disconnected because they lagged too far behind",
            self.lagging.clone(),
        );
        registry.register(
            "lost_lines",
            "Lines lost because standard output or standard error was too slow",
            self.lost.clone(),
        );
    }
}
