use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use uuid::Uuid;

/// The bridge's arguments.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["version", "session_id", "resume"])))]
pub struct Arguments {
    /// Start the agent, print its name and version, and exit.
    #[arg(long)]
    pub(crate) version: bool,
    /// Begin a session with this id.
    #[arg(long, value_name = "UUID")]
    pub(crate) session_id: Option<Uuid>,
    /// Continue the session with this id.
    #[arg(long, value_name = "UUID")]
    pub(crate) resume: Option<Uuid>,
    /// The agent's name of the model; `default` for the agent's own choice.
    #[arg(long, value_name = "MODEL", default_value = "default")]
    pub(crate) model: String,
    /// File with instructions to send before the first prompt of a session.
    #[arg(long, value_name = "FILE")]
    pub(crate) instructions: Option<PathBuf>,
    /// Maximum number of retries when the model fails, if the agent reports them.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) max_retries: u32,
    /// The agent and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
