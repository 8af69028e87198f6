//! What the bastion does at a target for the agent: connections of the agent's own to the guest, and verbs.
//!
//! [`Control::new`](crate::Control::new) makes one [`AgentPort`] and no other is made, so the bastion that owns
//! it is the only maker of permits for the agent.

use std::sync::Arc;

use breakglass_log::Log;
use breakglass_model::{Actor, IncidentId, OperationId};
use breakglass_verbs::Verb;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::{Control, Station};
use crate::permit::{Permit, Refusal};
use crate::power::{Accepted, Operation};
use crate::ssh::Upstream;
use crate::target::Target;

/// The agent's access to all targets.
pub struct AgentPort(Control);

impl AgentPort {
    pub(crate) fn new(control: Control) -> AgentPort {
        AgentPort(control)
    }

    /// The log of everything that happens at the targets.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.0.inner.log
    }

    /// The agent's access to the target called `name`.
    ///
    /// # Errors
    /// [`Refusal::UnknownTarget`].
    pub fn target(&self, name: &str) -> Result<AgentTarget, Refusal> {
        Ok(AgentTarget {
            station: Arc::clone(self.0.station(name)?),
            control: self.0.clone(),
        })
    }
}

/// The agent's access to one target. Cheap to clone.
#[derive(Clone)]
pub struct AgentTarget {
    control: Control,
    station: Arc<Station>,
}

impl AgentTarget {
    /// The target's configuration.
    #[must_use]
    pub fn config(&self) -> &Target {
        &self.station.target
    }

    /// The agent's own connections to the guest.
    #[must_use]
    pub fn guest(&self) -> &Arc<Upstream> {
        &self.station.upstream
    }

    /// The log of the target's incidents.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.control.inner.log
    }

    /// Cancelled when the server shuts down.
    #[must_use]
    pub fn shutdown(&self) -> &CancellationToken {
        &self.control.inner.cancel
    }

    /// Owns the tasks that the server waits for when it shuts down.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.control.inner.tracker
    }

    /// Starts `verb` for the agent in `incident` and returns at once; the caller has ruled on it.
    ///
    /// # Errors
    /// The reason why it was not started; see [`Refusal`].
    pub async fn submit(&self, verb: Verb, incident: IncidentId) -> Result<Accepted, Refusal> {
        let permit = Permit {
            actor: Actor::Agent,
            station: Arc::clone(&self.station),
            verb,
        };
        self.control.submit(permit, Some(incident), None).await
    }

    /// The operation, if it runs or is among the last that ended.
    #[must_use]
    pub fn operation(&self, operation: OperationId) -> Option<Arc<Operation>> {
        self.control.inner.table.get(operation)
    }
}
