//! The interface of this crate: permits, operations, vital signs, pictures of the screen.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::{Actor, OperationId, Vitals, clock};
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::handle::TargetHandle;
use crate::permit::Permit;
use crate::pictures::spawn_file_task;
use crate::power::admission::Admission;
use crate::power::runner::Run;
use crate::power::table::Progress;
use crate::power::{Accepted, OperationAction, OperationRequest, OperationView};
use crate::refusal::Refusal;
use crate::screenshot::{self, NoPicture};
use crate::shared::Shared;
use crate::ssh::warm::Priority;
use crate::target::Target;

/// Longest wait for the incident of an operation that an earlier request started.
const PLACEMENT_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout for a picture that an operator asks for.
const SCREENSHOT_TIMEOUT: Duration = Duration::from_secs(15);

/// Everything that acts on targets. Clones share the same state.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

impl Control {
    /// Adds the metrics of SSH connection attempts to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        self.shared.dial_metrics.register(registry);
    }

    /// The configured targets.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.shared.targets.iter().map(|target| &target.config)
    }

    /// Permission for `actor` to run `action`, a verb or a diagnosis, on `target`.
    ///
    /// # Errors
    /// [`Refusal::UnknownTarget`]; [`Refusal::BypassesBastion`] for the agent.
    pub fn permit(
        &self,
        actor: &Actor,
        target: &str,
        action: impl Into<OperationAction>,
    ) -> Result<Permit, Refusal> {
        if *actor == Actor::Agent {
            return Err(Refusal::BypassesBastion);
        }
        Ok(Permit {
            actor: actor.clone(),
            target: Arc::clone(self.target(target)?),
            action: action.into(),
        })
    }

    /// Starts the operation and returns at once; it continues even if the caller goes away.
    ///
    /// # Errors
    /// The reason why it was not started; see [`Refusal`].
    pub async fn submit(&self, request: OperationRequest) -> Result<Accepted, Refusal> {
        let shared = &self.shared;
        if shared.shutdown.is_cancelled() {
            return Err(Refusal::ShuttingDown);
        }
        let id = Uuid::now_v7();
        let now = clock::now();
        // The lock is released before any await; the operation is in the table before it can end.
        let admitted = {
            let mut admission = shared.admission.lock();
            match admission.admit(id, &request, &now) {
                Admission::Admitted => Ok(shared.operations.start(request.view(id, &now))),
                Admission::Refused(refusal) => return Err(refusal),
                Admission::Replayed(earlier) => Err(earlier),
            }
        };
        let operation = match admitted {
            Ok(operation) => operation,
            Err(earlier) => return Ok(self.replay(earlier).await),
        };
        // From here on the task owns the operation, which continues if this future is dropped.
        let (reply, accepted) = oneshot::channel();
        let run = Run {
            shared: Arc::clone(shared),
            operation,
            request,
        };
        shared.tasks.spawn(Arc::new(run).run(reply));
        accepted.await.unwrap_or(Ok(Accepted {
            operation: id,
            incident: None,
            replayed: false,
        }))
    }

    async fn replay(&self, operation: OperationId) -> Accepted {
        let mut incident = None;
        if let Some(earlier) = self.shared.operations.get(operation) {
            earlier.reached(Progress::Placed, PLACEMENT_TIMEOUT).await;
            incident = earlier.view().incident;
        }
        Accepted {
            operation,
            incident,
            replayed: true,
        }
    }

    /// An operation that is running or among the last that ended.
    #[must_use]
    pub fn operation(&self, operation: OperationId) -> Option<OperationView> {
        let operation = self.shared.operations.get(operation)?;
        Some(operation.view())
    }

    /// The mutating verb that is running on `target`, if any.
    #[must_use]
    pub fn running(&self, target: &str) -> Option<OperationView> {
        let operation = self.shared.admission.lock().mutating(target)?;
        self.operation(operation)
    }

    /// Waits at most `timeout` for the operation to end, and returns its state after that.
    pub async fn wait(&self, operation: OperationId, timeout: Duration) -> Option<OperationView> {
        let operation = self.shared.operations.get(operation)?;
        operation.reached(Progress::Ended, timeout).await;
        Some(operation.view())
    }

    /// The latest vital signs of `target`; `None` for an unknown target.
    #[must_use]
    pub fn vitals(&self, target: &str) -> Option<Vitals> {
        Some(self.target(target).ok()?.vitals.read())
    }

    /// The current screen of `target` as a PNG of at most 4 MiB. Comes from the host's gate over the warm
    /// connection; nothing is recorded.
    ///
    /// # Errors
    /// See [`NoPicture`].
    pub async fn screenshot(&self, target: &str) -> Result<Vec<u8>, NoPicture> {
        let target = self
            .target(target)
            .map_err(|_| NoPicture::UnknownTarget(target.to_owned()))?;
        screenshot::fetch(target, SCREENSHOT_TIMEOUT, Priority::Interactive).await
    }

    /// The screen just before `operation`, as a PNG of at most 4 MiB. `None` if no picture was available
    /// then, or newer ones have replaced it.
    ///
    /// # Errors
    /// When the picture is kept and can't be read.
    pub async fn picture(&self, operation: OperationId) -> io::Result<Option<Vec<u8>>> {
        let shared = Arc::clone(&self.shared);
        let reading = spawn_file_task(move || shared.pictures.read(operation));
        reading.await.map_err(io::Error::other)?
    }

    /// Waits at most `timeout` until no operation is running; returns how many still are.
    pub async fn drain(&self, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        for operation in self.shared.operations.running() {
            let left = deadline.saturating_duration_since(Instant::now());
            operation.reached(Progress::Ended, left).await;
        }
        self.shared.operations.running().len()
    }

    pub(crate) fn target(&self, name: &str) -> Result<&Arc<TargetHandle>, Refusal> {
        let mut targets = self.shared.targets.iter();
        targets
            .find(|target| target.config.name == name)
            .ok_or_else(|| {
                let known: Vec<&str> = self.targets().map(|target| target.name.as_str()).collect();
                Refusal::UnknownTarget {
                    target: name.to_owned(),
                    known: known.join(", "),
                }
            })
    }
}
