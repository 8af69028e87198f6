use breakglass_log::LogError;
use thiserror::Error;

/// Why a prompt was not taken.
#[derive(Debug, Error)]
pub enum PromptError {
    /// A turn runs in this incident; one prompt at a time.
    #[error("The agent is still at work on turn {0}. Wait for it, or stop it.")]
    TurnRunning(u32),
    /// The CLI cannot work; the sentence says why and what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The incident's target is not in the configuration any more.
    #[error(
        "This incident is about {0:?}, which is no target of this server's configuration any more. \
         Put it back there, or open an incident of another target."
    )]
    UnknownTarget(String),
    /// The record does not hold what happens, and the agent is never run unrecorded.
    #[error(
        "The agent is not run while its work cannot be recorded: {0}. Power and checks work without it."
    )]
    Degraded(String),
    /// The model's name is not one.
    #[error("That is not the name of a model. Letters, digits and . _ - : / @ [ ] only.")]
    BadModel,
    /// There is no agent of this name.
    #[error("There is no agent {0:?} here; the configuration names them under [[agents]].")]
    NoSuchAgent(String),
    /// All processes that may live at once have a turn running.
    #[error(
        "All {0} agents are at work in other incidents. Stop one there, or raise agent.max_processes."
    )]
    AllBusy(usize),
    /// The log did not take the prompt, and the agent is never run unrecorded.
    #[error("The prompt could not be recorded, so the agent was not started: {0}")]
    Unrecorded(#[from] LogError),
}
