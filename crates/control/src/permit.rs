//! The permission without which nothing reaches a target.

use std::sync::Arc;

use breakglass_model::Actor;

use crate::handle::TargetHandle;
use crate::power::OperationAction;

/// Permission for one actor to run one verb or diagnosis on one target.
///
/// Only [`Control::permit`](crate::Control::permit) and [`AgentTarget::submit`](crate::AgentTarget::submit)
/// make one, so no code can act on a target without having been authorised.
#[derive(Debug)]
pub struct Permit {
    pub(crate) actor: Actor,
    pub(crate) target: Arc<TargetHandle>,
    pub(crate) action: OperationAction,
}
