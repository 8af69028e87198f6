use breakglass_model::gateway::RunnerCredential;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::TargetNames;

/// What the CLI of one conversation is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) names: TargetNames,
    /// Name of the conversation's directories, if it has its own.
    pub(crate) conversation: String,
    pub(crate) session: CliSession,
    pub(crate) model: String,
    /// Additional variables, such as the directory of the bastion's sockets; never a secret. A runner accepts
    /// only those that begin with `BREAKGLASS_`.
    pub(crate) env: Vec<(String, String)>,
    /// Only for a runner.
    #[serde(rename = "pass")]
    pub(crate) credential: Option<RunnerCredential>,
}

/// The session that the CLI is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CliSession {
    /// A new one with this id.
    New(Uuid),
    /// The existing one with this id.
    Resume(Uuid),
}

impl CliSession {
    pub(crate) fn id(self) -> Uuid {
        match self {
            CliSession::New(id) | CliSession::Resume(id) => id,
        }
    }
}
