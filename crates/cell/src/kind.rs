//! How the agent is isolated: by a sandbox, by confinement, or by a runner's container.

use breakglass_bastion::Ceiling;
use breakglass_model::Autonomy;

use crate::sandbox::SandboxSetup;
use breakglass_config::{AgentConfig, SandboxMode};

/// How the agent is isolated.
#[derive(Debug, Clone)]
pub enum Kind {
    /// By a sandbox.
    Sandbox(SandboxSetup),
    /// By an account and Landlock; contains the reason why there is no sandbox, unless the configuration says so.
    Confinement(Option<String>),
    /// By the container of its runner.
    Runner,
}

impl Kind {
    /// Chooses the isolation for this machine and configuration.
    ///
    /// # Errors
    /// The reason, if a sandbox is required and none can be made.
    pub fn choose(agent: &AgentConfig) -> Result<Kind, String> {
        if agent.runner.is_some() {
            return Ok(Kind::Runner);
        }
        if agent.sandbox == SandboxMode::None {
            return Ok(Kind::Confinement(None));
        }
        match SandboxSetup::detect(agent.user) {
            Ok(setup) => Ok(Kind::Sandbox(setup)),
            Err(why) if agent.sandbox == SandboxMode::Required => Err(why),
            Err(why) => Ok(Kind::Confinement(Some(why))),
        }
    }

    /// The setup of its sandbox, if it has one.
    pub fn sandbox(&self) -> Option<&SandboxSetup> {
        match self {
            Kind::Sandbox(setup) => Some(setup),
            Kind::Confinement(_) | Kind::Runner => None,
        }
    }

    /// The highest autonomy that is possible; `None`: no limit.
    pub fn ceiling(&self) -> Option<Ceiling> {
        let Kind::Confinement(Some(why)) = self else {
            return None;
        };
        Some(Ceiling {
            autonomy: Autonomy::ApproveMutations,
            why: format!(
                "The agent has no sandbox here, so it asks before it changes anything: {why}. To let it act \
                 without asking anyway, set agent.sandbox = \"none\" and restart breakglass."
            ),
        })
    }
}
