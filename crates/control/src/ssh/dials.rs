//! What dialling comes to, counted by machine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::error::SshError;
use crate::target::{Endpoint, Target};

type Labels<const N: usize> = [(&'static str, String); N];
type Seconds = Family<Labels<2>, Histogram, fn() -> Histogram>;

/// Upper bounds in seconds: from a machine on the same rack to the longest `connect_timeout_s`.
const BOUNDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// Counts dials of configured machines; what is none of them is not counted. Cheap to clone; every
/// clone is the same.
#[derive(Clone)]
pub struct Dials(Arc<Inner>);

struct Inner {
    machines: Vec<(Endpoint, String, &'static str)>,
    results: Family<Labels<3>, Counter>,
    seconds: Seconds,
}

impl fmt::Debug for Dials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machines = &self.0.machines;
        f.debug_struct("Dials").field("machines", machines).finish()
    }
}

impl Dials {
    /// Dials of the guests and hosts of `targets`.
    #[must_use]
    pub fn of(targets: &[Target]) -> Dials {
        let both = |target: &Target| {
            let (guest, host) = (target.guest.clone(), target.host.clone());
            let name = target.name.clone();
            [(guest, name.clone(), "guest"), (host, name, "host")]
        };
        Dials(Arc::new(Inner {
            machines: targets.iter().flat_map(both).collect(),
            results: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
        }))
    }

    /// Lists the counts in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ssh_dials",
            "SSH connections dialled, by machine and result",
            self.0.results.clone(),
        );
        registry.register(
            "ssh_dial_seconds",
            "From the first packet to an accepted key, of dials that succeeded",
            self.0.seconds.clone(),
        );
    }

    pub(super) fn note(&self, endpoint: &Endpoint, failed: Option<&SshError>, took: Duration) {
        let mut machines = self.0.machines.iter();
        let Some((_, target, machine)) = machines.find(|(of, _, _)| of == endpoint) else {
            return;
        };
        let target = || ("target", target.clone());
        let machine = || ("machine", (*machine).to_owned());
        let result = ("result", failed.map_or("ok", SshError::word).to_owned());
        let labels = [target(), machine(), result];
        self.0.results.get_or_create(&labels).inc();
        if failed.is_none() {
            let seconds = self.0.seconds.get_or_create(&[target(), machine()]);
            seconds.observe(took.as_secs_f64());
        }
    }
}
