//! What a sandbox is made of: its paths inside, and how and with which contents it is made.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use breakglass_model::gateway::Destination;
use tokio::process::Command;

use crate::{Account, TargetNames};

/// The CLI's home inside.
pub const HOME: &str = "/home/agent";
/// Its working directory inside.
pub(crate) const WORK: &str = "/work";
/// The read-only files of the cell inside: SSH configuration, host keys, shims.
pub const CELL: &str = "/run/breakglass/cell";
/// This program inside.
pub const PROGRAM: &str = "/run/breakglass/program";
/// The folder of runbooks inside.
pub(crate) const LIBRARY: &str = "/run/breakglass/library";
/// The directory inside of the sockets to guest and host, which have the machines' names.
pub const SOCKETS: &str = "/run/breakglass/sockets";
/// The address inside of the proxy to the model's API.
pub const MODEL_PROXY: &str = "127.0.0.1:3128";

/// Receives each connection that is made inside.
pub type Connected = Arc<dyn Fn(Destination, OwnedFd) + Send + Sync>;

/// Closes every connection.
#[must_use]
pub fn no_connections() -> Connected {
    Arc::new(|_, _| {})
}

/// How sandboxes are made on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The `bwrap` program.
    pub bwrap: PathBuf,
    /// The program that has the command `cell-init`: this one.
    pub program: PathBuf,
    /// The directory that is [`CELL`] inside.
    pub cell: PathBuf,
    /// The account inside, if the server is root; otherwise the server's own.
    pub account: Option<Account>,
    /// Additional readable paths, the same inside and outside.
    pub readable: Vec<PathBuf>,
}

/// The contents of one conversation's sandbox.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    /// The command to run inside, with its arguments and environment.
    pub(crate) command: &'a Command,
    /// The program that the command starts in turn, if it is a bridge to another agent.
    pub(crate) bridged_program: Option<PathBuf>,
    /// The directory that is [`HOME`] inside.
    pub(crate) home: &'a Path,
    /// The directory that is [`WORK`] inside.
    pub(crate) work: &'a Path,
    /// The directory that is [`LIBRARY`] inside.
    pub(crate) library: Option<&'a Path>,
    /// The machines that the CLI can reach.
    pub(crate) names: Option<&'a TargetNames>,
}
