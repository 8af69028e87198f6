use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use breakglass_journal::{Actor, IncidentId, Journal, OperationId, Vitals};
use breakglass_verbs::Verb;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::checks::Check;
use crate::permit::{Permit, Refusal};
use crate::power::{Accepted, IdempotencyKey, OperationView};
use crate::ssh::SshOptions;
use crate::target::Target;

/// Everything that acts on targets. Cheap to clone; every clone is the same control.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    stations: Vec<Arc<Station>>,
}

/// One target with all that belongs to it.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) target: Target,
    vitals: Mutex<Option<Vitals>>,
}

impl Control {
    /// Control over `targets`. Watchers run on `tracker` and end with `cancel`; running
    /// operations also run on `tracker` and go on, so close it and wait for it to drain them.
    #[must_use]
    pub fn new(
        targets: Vec<Target>,
        ssh: SshOptions,
        journal: Journal,
        cancel: CancellationToken,
        tracker: TaskTracker,
    ) -> Control {
        drop((ssh, journal, cancel, tracker));
        let stations = targets
            .into_iter()
            .map(|target| {
                Arc::new(Station {
                    target,
                    vitals: Mutex::default(),
                })
            })
            .collect();
        Control {
            inner: Arc::new(Inner { stations }),
        }
    }

    /// The configured targets.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.inner.stations.iter().map(|station| &station.target)
    }

    /// Leave for `actor` to run `verb` on `target`.
    ///
    /// # Errors
    /// [`Refusal::UnknownTarget`].
    pub fn permit(&self, actor: &Actor, target: &str, verb: Verb) -> Result<Permit, Refusal> {
        let station = self.station(target)?;
        Ok(Permit {
            actor: actor.clone(),
            station: Arc::clone(station),
            verb,
        })
    }

    /// Begins what `permit` allows and returns at once; the run goes on whatever becomes of the
    /// caller. Events go to `incident`, else to the target's open one, else to a new one.
    ///
    /// # Errors
    /// When it was not begun, and why; see [`Refusal`].
    #[allow(clippy::unused_async)]
    pub async fn submit(
        &self,
        permit: Permit,
        incident: Option<IncidentId>,
        key: Option<IdempotencyKey>,
    ) -> Result<Accepted, Refusal> {
        drop((permit, incident, key));
        Err(Refusal::ShuttingDown)
    }

    /// Begins a read-only diagnosis of the guest; otherwise like [`Control::submit`].
    ///
    /// # Errors
    /// When it was not begun, and why.
    #[allow(clippy::unused_async)]
    pub async fn check(
        &self,
        actor: &Actor,
        target: &str,
        check: Check,
        incident: Option<IncidentId>,
    ) -> Result<Accepted, Refusal> {
        let _ = (actor, self.station(target)?, check, incident);
        Err(Refusal::ShuttingDown)
    }

    /// One operation: running, or one of the last that ended.
    #[must_use]
    pub fn operation(&self, operation: OperationId) -> Option<OperationView> {
        let _ = operation;
        None
    }

    /// The mutating verb that runs on `target`, if one does.
    #[must_use]
    pub fn running(&self, target: &str) -> Option<OperationView> {
        let _ = target;
        None
    }

    /// Waits until the operation has ended, at most `limit`, and gives it as it then stands.
    #[allow(clippy::unused_async)]
    pub async fn wait(&self, operation: OperationId, limit: Duration) -> Option<OperationView> {
        let _ = limit;
        self.operation(operation)
    }

    /// The latest vital signs of `target`; `None` for an unknown target.
    #[must_use]
    pub fn vitals(&self, target: &str) -> Option<Vitals> {
        let station = self.station(target).ok()?;
        station
            .vitals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn station(&self, target: &str) -> Result<&Arc<Station>, Refusal> {
        let stations = &self.inner.stations;
        stations
            .iter()
            .find(|station| station.target.name == target)
            .ok_or_else(|| {
                let known: Vec<&str> = self.targets().map(|target| target.name.as_str()).collect();
                Refusal::UnknownTarget {
                    target: target.to_owned(),
                    known: known.join(", "),
                }
            })
    }
}
