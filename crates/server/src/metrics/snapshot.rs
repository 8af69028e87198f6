//! Gauges whose values are read at each scrape.
//!
//! The HTTP handler collects the values; this module turns them into metrics.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use breakglass_readiness::{Check, State};

/// The current values of all gauges.
pub(crate) struct Snapshot {
    /// Every check, as in `/ready`.
    pub(crate) checks: Vec<Check>,
    /// Whether the log is degraded.
    pub(crate) degraded: bool,
    /// Number of open event streams.
    pub(crate) streams: usize,
    /// Number of the agent's open questions.
    pub(crate) open_questions: usize,
    /// The version of breakglass.
    pub(crate) version: String,
    /// The start time of the server.
    pub(crate) started: SystemTime,
}

impl Snapshot {
    pub(super) fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        let info = Info::new([("version", self.version.clone())]);
        registry.register("breakglass_build", "The running version", info);
        self.readiness(&mut registry);
        let gauges = [
            (
                "breakglass_record_degraded",
                "1 while events are not recorded durably",
                i64::from(self.degraded),
            ),
            (
                "breakglass_event_streams",
                "Open event streams",
                count(self.streams),
            ),
            (
                "breakglass_approvals_open",
                "Questions of the agent without an answer",
                count(self.open_questions),
            ),
            (
                "process_start_time_seconds",
                "Start time of the process since the Unix epoch",
                seconds(self.started),
            ),
        ];
        for (name, help, value) in gauges.into_iter().chain(memory()) {
            registry.register(name, help, gauge(value));
        }
        registry
    }

    fn readiness(&self, registry: &mut Registry) {
        let states: Family<[(&str, String); 1], Gauge> = Family::default();
        for check in &self.checks {
            let state = states.get_or_create(&[("check", check.name.clone())]);
            state.set(check.state as i64);
        }
        let ready = self.checks.iter().all(|check| check.state < State::Red);
        registry.register(
            "breakglass_ready",
            "1 if no readiness check is red, as with GET /ready",
            gauge(i64::from(ready)),
        );
        registry.register(
            "breakglass_check_state",
            "Readiness by check: 0 green, 1 amber, 2 red",
            states,
        );
    }
}

fn gauge(value: i64) -> Gauge {
    let gauge = Gauge::<i64>::default();
    gauge.set(value);
    gauge
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The resident memory of the process; `None` if the system does not report it.
fn memory() -> Option<(&'static str, &'static str, i64)> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: usize = pages.split(' ').nth(1)?.parse().ok()?;
    let bytes = resident.checked_mul(rustix::param::page_size())?;
    let help = "Resident memory size in bytes";
    Some(("process_resident_memory_bytes", help, count(bytes)))
}
