use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::AgentOptions;
use crate::child::Spawner;

/// What a runner is started with.
#[derive(Debug, Clone)]
pub struct RunnerOptions {
    /// Its listening socket, in a directory that it shares with the server.
    pub socket: PathBuf,
    /// The uids of the servers that may use it; the kernel reports who connects.
    pub peers: Vec<u32>,
    /// The CLI and its cell, with the login of the model's API in `env`. The server decides about names, models
    /// and the limits of turns.
    pub agent: AgentOptions,
    /// Directory for the server's `ssh_config` and `known_hosts`. In them, `{cell}` stands for this directory and
    /// `{program}` for this program.
    pub ssh_dir: PathBuf,
}

/// What all sessions of a runner share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: RunnerOptions,
    pub(super) spawner: Spawner,
    pub(super) shutdown: CancellationToken,
}
