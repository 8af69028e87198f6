//! What keeps the agent in: a sandbox, walls alone, or a container of its own.

use breakglass_bastion::Ceiling;
use breakglass_model::Autonomy;

use crate::sandbox::Found;
use breakglass_config::{AgentConfig, SandboxMode};

/// What keeps the agent in.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A sandbox.
    Sandbox(Found),
    /// An account and Landlock; why there is no sandbox, unless the configuration wants none.
    Walls(Option<String>),
    /// The container of its runner.
    Runner,
}

impl Kind {
    /// That of this machine and configuration.
    ///
    /// # Errors
    /// A sentence, when a sandbox is required and none can be made.
    pub fn choose(agent: &AgentConfig) -> Result<Kind, String> {
        if agent.runner.is_some() {
            return Ok(Kind::Runner);
        }
        if agent.sandbox == SandboxMode::None {
            return Ok(Kind::Walls(None));
        }
        match Found::look(agent.user) {
            Ok(found) => Ok(Kind::Sandbox(found)),
            Err(why) if agent.sandbox == SandboxMode::Required => Err(why),
            Err(why) => Ok(Kind::Walls(Some(why))),
        }
    }

    /// How its sandbox is made, if it has one.
    pub fn sandbox(&self) -> Option<&Found> {
        match self {
            Kind::Sandbox(found) => Some(found),
            Kind::Walls(_) | Kind::Runner => None,
        }
    }

    /// The most that the agent may do without asking.
    pub fn ceiling(&self) -> Option<Ceiling> {
        let Kind::Walls(Some(why)) = self else {
            return None;
        };
        Some(Ceiling {
            autonomy: Autonomy::ApproveMutations,
            why: format!(
                "The agent has no sandbox here, so it asks before it changes anything: {why}. To let it act \
                 without asking all the same, set agent.sandbox = \"none\" and start breakglass again."
            ),
        })
    }
}
