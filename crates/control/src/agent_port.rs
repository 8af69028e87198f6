//! The bastion's access to targets on behalf of the agent: connections of the agent's own to the guest, and verbs.
//!
//! [`Control::new`](crate::Control::new) makes the only [`AgentPort`], so the bastion that owns it is the only
//! place where permits for the agent are made.

use std::sync::Arc;

use breakglass_log::Log;
use breakglass_model::{Actor, IncidentId, OperationId};
use breakglass_verbs::Verb;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::Control;
use crate::handle::TargetHandle;
use crate::permit::Permit;
use crate::power::{Accepted, Operation, OperationRequest};
use crate::refusal::Refusal;
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
        &self.0.shared.log
    }

    /// The agent's access to the target called `name`.
    ///
    /// # Errors
    /// [`Refusal::UnknownTarget`].
    pub fn target(&self, name: &str) -> Result<AgentTarget, Refusal> {
        Ok(AgentTarget {
            target: Arc::clone(self.0.target(name)?),
            control: self.0.clone(),
        })
    }
}

/// The agent's access to one target. Cheap to clone.
#[derive(Clone)]
pub struct AgentTarget {
    control: Control,
    target: Arc<TargetHandle>,
}

impl AgentTarget {
    /// The target's configuration.
    #[must_use]
    pub fn config(&self) -> &Target {
        &self.target.config
    }

    /// The agent's own connections to the guest.
    #[must_use]
    pub fn guest(&self) -> &Arc<Upstream> {
        &self.target.upstream
    }

    /// The log of the target's incidents.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.control.shared.log
    }

    /// Cancelled when the server shuts down.
    #[must_use]
    pub fn shutdown(&self) -> &CancellationToken {
        &self.control.shared.shutdown
    }

    /// Owns the tasks that the server waits for when it shuts down.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.control.shared.tasks
    }

    /// Starts `verb` for the agent in `incident` and returns at once; the caller has ruled on it.
    ///
    /// # Errors
    /// The reason why it was not started; see [`Refusal`].
    pub async fn submit(&self, verb: Verb, incident: IncidentId) -> Result<Accepted, Refusal> {
        let permit = Permit {
            actor: Actor::Agent,
            target: Arc::clone(&self.target),
            action: verb.into(),
        };
        let request = OperationRequest {
            incident: Some(incident),
            ..OperationRequest::new(permit)
        };
        self.control.submit(request).await
    }

    /// The operation, if it is running or among the last that ended.
    #[must_use]
    pub fn operation(&self, operation: OperationId) -> Option<Arc<Operation>> {
        self.control.shared.operations.get(operation)
    }
}
