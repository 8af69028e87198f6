use breakglass_log::LogError;
use thiserror::Error;

/// Why a prompt was not accepted.
#[derive(Debug, Error)]
pub enum PromptError {
    /// A turn is running in this incident; only one prompt at a time.
    #[error("The agent is still at work on turn {0}. Wait for it, or stop it.")]
    TurnRunning(u32),
    /// The CLI cannot work; the sentence says why and what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The incident's target is no longer in the configuration.
    #[error(
        "The target of this incident, {0:?}, is no longer in this server's configuration. Add it again, or open \
         an incident of another target."
    )]
    UnknownTarget(String),
    /// The log does not record, and the agent never works unrecorded.
    #[error(
        "The agent does not work while its actions cannot be recorded: {0}. Power and checks work without it."
    )]
    Degraded(String),
    /// Not a valid model name.
    #[error("This is not a valid model name. Use only letters, digits and . _ - : / @ [ ].")]
    BadModel,
    /// There is no agent of this name.
    #[error("There is no agent {0:?} here; the configuration names them under [[agents]].")]
    NoSuchAgent(String),
    /// Every process that may run is busy with a turn.
    #[error(
        "All {0} agents are at work in other incidents. Stop one there, or raise agent.max_processes."
    )]
    AllBusy(usize),
    /// The log did not accept the prompt, and the agent never works unrecorded.
    #[error("The prompt could not be recorded, so the agent was not started: {0}")]
    Unrecorded(#[from] LogError),
}
