//! Counts dials by target, machine and result.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::Side;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::error::SshError;
use crate::target::{Endpoint, Target};

type Labels<const N: usize> = [(&'static str, String); N];
type DurationHistogram = Family<Labels<2>, Histogram, fn() -> Histogram>;

/// Upper bounds in seconds: from a machine in the same rack to the longest connection timeout.
const BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// Metrics of the dials of configured machines; dials of other machines are not counted. Clones share the
/// same counts.
#[derive(Clone)]
pub struct DialMetrics(Arc<Inner>);

struct Inner {
    machines: Vec<(Endpoint, String, Side)>,
    results: Family<Labels<3>, Counter>,
    seconds: DurationHistogram,
}

impl fmt::Debug for DialMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machines = &self.0.machines;
        f.debug_tuple("DialMetrics").field(machines).finish()
    }
}

impl DialMetrics {
    /// Metrics for the guests and hosts of `targets`.
    #[must_use]
    pub fn new(targets: &[Target]) -> DialMetrics {
        let machines = targets.iter().flat_map(|target| {
            [Side::Guest, Side::Host]
                .map(|side| (target.endpoint(side).clone(), target.name.clone(), side))
        });
        DialMetrics(Arc::new(Inner {
            machines: machines.collect(),
            results: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }))
    }

    /// Adds the metrics to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ssh_dials",
            "SSH connection attempts, by machine and result",
            self.0.results.clone(),
        );
        registry.register(
            "ssh_dial_seconds",
            "Time from the first packet to the login, for successful SSH connection attempts",
            self.0.seconds.clone(),
        );
    }

    pub(super) fn record(&self, endpoint: &Endpoint, error: Option<&SshError>, took: Duration) {
        let mut machines = self.0.machines.iter();
        let Some((_, target, side)) = machines.find(|(known, _, _)| known == endpoint) else {
            return;
        };
        let target = ("target", target.clone());
        let machine = ("machine", side.as_str().to_owned());
        let result = ("result", error.map_or("ok", SshError::code).to_owned());
        let labels = [target.clone(), machine.clone(), result];
        self.0.results.get_or_create(&labels).inc();
        if error.is_none() {
            let seconds = self.0.seconds.get_or_create(&[target, machine]);
            seconds.observe(took.as_secs_f64());
        }
    }
}
