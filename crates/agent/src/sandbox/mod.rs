//! The sandbox that the agent's CLI and all that it starts live in: `bwrap` makes the namespaces, and
//! what is reachable inside is the list in [`bwrap`].
//!
//! ```text
//!   server ── bwrap ── cell-init ── the CLI ── its tools
//!     ▲                   │  the first process inside: with its end everything inside ends
//!     │                   │  listens inside: 127.0.0.1 for the model, a path for guest and host
//!     └── one socket ─────┘  and hands each connection out over the one socket it inherited
//! ```
//! There is no network but `lo`, no process but its own, and no file of the server's. A kernel or a
//! container that allows no namespaces is found out by [`Sandbox::probe`].

mod bounds;
mod bwrap;
mod handover;
mod identity;
mod init;
mod inside;
mod probe;
mod seccomp;

use breakglass_model::gateway::Destination;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::process::Command;

pub use init::{InitOptions, run as run_init, try_walls};
pub use probe::{Probe, Tried};

pub(crate) use inside::Inside;

use handover::Outside;

use crate::{Account, TargetNames};

/// Where the CLI's home is inside.
pub const HOME: &str = "/home/agent";
/// Where its working directory is inside.
pub(crate) const WORK: &str = "/work";
/// Where what the agent only reads is inside: SSH configuration, host keys, shims.
pub const CELL: &str = "/run/breakglass/cell";
/// Where this program is inside.
pub const PROGRAM: &str = "/run/breakglass/program";
/// Where the folder of runbooks is inside.
pub(crate) const LIBRARY: &str = "/run/breakglass/library";
/// Where the sockets that lead to guest and host are inside, each by its machine's name.
pub const WAYS: &str = "/run/breakglass/ways";
/// Where the way to the model's API begins inside.
pub const MODEL_PROXY: &str = "127.0.0.1:3128";

/// Takes each connection that is made inside.
pub type Connected = Arc<dyn Fn(Destination, OwnedFd) + Send + Sync>;

/// For a command that is to reach nothing.
#[must_use]
pub fn unconnected() -> Connected {
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
    /// The account inside, where the server is root; else its own.
    pub account: Option<Account>,
    /// What else can be read inside, at its own path.
    pub readable: Vec<PathBuf>,
}

/// What goes into a sandbox of one conversation.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    /// What is to run inside, with its arguments and environment.
    pub(crate) command: &'a Command,
    /// The program that the command starts in its turn, where it is a bridge to another agent.
    pub(crate) behind: Option<&'a PathBuf>,
    /// The directory that is [`HOME`] inside.
    pub(crate) home: &'a PathBuf,
    /// The directory that is [`WORK`] inside.
    pub(crate) work: &'a PathBuf,
    /// The directory that is [`LIBRARY`] inside.
    pub(crate) library: Option<&'a PathBuf>,
    /// The machines that can be reached; none for a CLI that is to reach none.
    pub(crate) names: Option<&'a TargetNames>,
}

/// A command in a sandbox, ready to be started once.
#[derive(Debug)]
pub(crate) struct Boxed {
    pub(crate) command: Command,
    /// What the child inherits besides its standard streams; closed here when it runs.
    pub(crate) inside: OwnedFd,
    /// Root makes it, whose capabilities go when it is made.
    pub(crate) privileged: bool,
    pub(crate) outside: Outside,
}

impl Sandbox {
    /// Puts a command into a sandbox.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn wrap(&self, contents: &Contents<'_>) -> io::Result<Boxed> {
        let (outside, inside) = handover::pair()?;
        let mut command = Command::new(&self.bwrap);
        command.args(bwrap::arguments(self, contents, inside.as_raw_fd())?);
        command.env_clear();
        for (name, value) in contents.command.as_std().get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        Ok(Boxed {
            command,
            inside,
            privileged: self.account.is_some(),
            outside,
        })
    }
}
