//! Starts the CLI where the options say: on this machine, or behind a runner.

use std::io;
use std::time::Duration;

use crate::AgentOptions;
use crate::cell::{self, Program};
use crate::child::{Exit, LocalChild, ProcessTree, Spawner};
use crate::login::has_login;
use crate::plan::Plan;
use crate::runner::RemoteChild;
use crate::sandbox::Connected;
use crate::wire::RawLine;

/// A running CLI.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    /// Whether the CLI has a login of the model's API on its machine.
    pub(crate) has_login: bool,
}

/// Starts the CLI according to `plan`. Without a plan, runs it only to print its version.
///
/// # Errors
/// A sentence: why it could not be started, and what to do.
pub(crate) async fn start(
    options: &AgentOptions,
    spawner: &Spawner,
    plan: Option<&Plan>,
    connected: Connected,
) -> Result<Started, String> {
    let instructions = plan
        .map(|plan| cell::instructions(options, &plan.names))
        .transpose()
        .map_err(|error| format!("The agent file can't be read: {error}. Correct agent_file."))?
        .unwrap_or_default();
    if let Some(access) = &options.runner {
        let retries = options.max_api_retries;
        let (child, has_login) = RemoteChild::start(access, plan, instructions, retries).await?;
        let child = Child::Remote(child);
        return Ok(Started { child, has_login });
    }
    let program = plan.map_or(Program::Version, |plan| {
        Program::Conversation(plan, &instructions)
    });
    let child = cell::start(options, spawner, program, connected).await?;
    Ok(Started {
        child: Child::Local(Box::new(child)),
        has_login: has_login(options),
    })
}

/// A running child, on this machine or behind a runner.
#[derive(Debug)]
pub(crate) enum Child {
    Local(Box<LocalChild>),
    Remote(RemoteChild),
}

impl Child {
    /// The child with all its descendants; none behind a runner, which checks that itself.
    ///
    /// # Errors
    /// If the process can't be examined.
    pub(crate) fn process_tree(&self) -> io::Result<Option<ProcessTree>> {
        match self {
            Child::Local(child) => child.process_tree().map(Some),
            Child::Remote(_) => Ok(None),
        }
    }

    /// The next line of standard output; none at its end. Cancel-safe.
    ///
    /// # Errors
    /// The pipe's error.
    pub(crate) async fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        match self {
            Child::Local(child) => child.next().await,
            Child::Remote(child) => child.next().await,
        }
    }

    /// Writes `text` to standard input.
    ///
    /// # Errors
    /// If the child has closed it, or does not read it in time.
    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        match self {
            Child::Local(child) => child.send(text.as_bytes()).await,
            Child::Remote(child) => child.send(text.as_bytes()).await,
        }
    }

    /// Closes standard input, waits up to `grace` for the child to exit by itself, and then kills whatever is
    /// left.
    pub(crate) async fn end(self, grace: Duration) -> Exit {
        match self {
            Child::Local(child) => child.end(grace).await,
            Child::Remote(child) => child.end(grace).await,
        }
    }

    /// Kills the child's process group, reaps it, and kills what it started elsewhere.
    pub(crate) async fn kill(self) -> Exit {
        match self {
            Child::Local(child) => child.kill().await,
            Child::Remote(child) => child.kill().await,
        }
    }

    /// Kills every running process that the child started, but not the child.
    pub(crate) async fn kill_descendants(&self) {
        match self {
            Child::Local(child) => child.kill_descendants().await,
            Child::Remote(child) => child.kill_descendants().await,
        }
    }
}
