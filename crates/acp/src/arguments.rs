use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use uuid::Uuid;

/// What the bridge is started with.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["version", "session_id", "resume"])))]
pub struct Arguments {
    /// Start the agent, print its name and version, and end.
    #[arg(long)]
    pub(crate) version: bool,
    /// Begin a session that is called so from now on.
    #[arg(long, value_name = "UUID")]
    pub(crate) session_id: Option<Uuid>,
    /// Go on with the session that is called so.
    #[arg(long, value_name = "UUID")]
    pub(crate) resume: Option<Uuid>,
    /// The model, by the agent's own name for it; `default` leaves it to the agent.
    #[arg(long, value_name = "MODEL", default_value = "default")]
    pub(crate) model: String,
    /// A file with what the agent is told before the first prompt of a session.
    #[arg(long, value_name = "FILE")]
    pub(crate) instructions: Option<PathBuf>,
    /// How often the agent may try again when its model fails, as far as it tells.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) max_retries: u32,
    /// The agent and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
