//! Starts the CLI: here, or behind a runner.

use std::ffi::OsString;
use std::io;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::cell::{self, Session};
use crate::child::{Child, Launcher, Local};
use crate::health::has_login;
use crate::homes;
use crate::runner::Remote;
use crate::sandbox::{Connected, Contents, Sandbox};
use crate::{AgentOptions, Kind, TargetNames};
use breakglass_model::gateway::RunnerCredential;

/// The name of the directories of a CLI that has no conversation.
const NO_CONVERSATION: &str = "none";

/// What a process for a conversation is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) names: TargetNames,
    /// The name of its directories, where it has such of its own.
    pub(crate) conversation: String,
    pub(crate) session: Session,
    pub(crate) model: String,
    /// Variables of this one process, such as the socket of its bastion. Never a secret. A runner
    /// takes those alone that begin with `BREAKGLASS_`.
    pub(crate) env: Vec<(String, String)>,
    /// For a runner alone.
    pub(crate) pass: Option<RunnerCredential>,
}

/// A process that runs, and whether the CLI has a login of the model's API where it does.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) signed_in: bool,
}

/// Starts the CLI by `plan`; to say its version and end, where there is none.
///
/// # Errors
/// A sentence: why there is no process, and what to do.
pub(crate) async fn start(
    options: &AgentOptions,
    launcher: &Launcher,
    plan: Option<&Plan>,
    connected: Connected,
) -> Result<Started, String> {
    let instructions = plan
        .map(|plan| cell::instructions(options, &plan.names))
        .transpose()
        .map_err(|error| format!("The agent file can't be read: {error}. Correct agent_file."))?;
    if let Some(access) = &options.runner {
        return Remote::start(access, options, plan, instructions).await;
    }
    let plan = plan.zip(instructions.as_deref());
    let child = match &options.sandbox {
        Some(sandbox) => start_boxed((options, sandbox), launcher, plan, connected).await?,
        None => start_here(options, launcher, plan).await?,
    };
    Ok(Started {
        child: Child::Local(Box::new(child)),
        signed_in: has_login(options),
    })
}

/// Starts the CLI on this machine; with a plan come the agent's instructions.
///
/// # Errors
/// Like [`start`].
pub(crate) async fn start_here(
    options: &AgentOptions,
    launcher: &Launcher,
    plan: Option<(&Plan, &str)>,
) -> Result<Local, String> {
    lay_out(options, plan)?;
    let command = command(options, plan);
    let mark = options.home.to_string_lossy();
    Local::spawn(launcher, command, &mark)
        .await
        .map_err(|error| not_started(options, &error))
}

/// Starts the CLI on this machine in a sandbox, with directories of the conversation's own; `connected`
/// takes the connections that it makes.
///
/// # Errors
/// Like [`start`].
async fn start_boxed(
    (options, sandbox): (&AgentOptions, &Sandbox),
    launcher: &Launcher,
    plan: Option<(&Plan, &str)>,
    connected: Connected,
) -> Result<Local, String> {
    let own = options.apart(plan.map_or(NO_CONVERSATION, |(plan, _)| &plan.conversation));
    let names = plan.map(|(plan, _)| &plan.names);
    open(options, &own, plan)?;
    let command = command(&own.inside(), plan);
    enclose(
        (options, sandbox),
        launcher,
        (&own, &command, names),
        connected,
    )
    .await
}

/// Starts this program in a sandbox with `arguments`, as the CLI of a conversation that can reach `names`.
///
/// # Errors
/// Like [`start`].
pub(crate) async fn start_own(
    (options, sandbox): (&AgentOptions, &Sandbox),
    launcher: &Launcher,
    (names, arguments): (&TargetNames, &[OsString]),
    connected: Connected,
) -> Result<Local, String> {
    let own = options.apart(NO_CONVERSATION);
    open(options, &own, None)?;
    let mut command = Command::new(&sandbox.program);
    command.args(arguments).env_clear();
    let command = (&own, &command, Some(names));
    enclose((options, sandbox), launcher, command, connected).await
}

/// Makes the directories of one conversation.
fn open(
    options: &AgentOptions,
    own: &AgentOptions,
    plan: Option<(&Plan, &str)>,
) -> Result<(), String> {
    cell::prepare(options)
        .and_then(|()| homes::open(options, own))
        .map_err(|error| unwritable(options, &error))?;
    lay_out(own, plan)
}

async fn enclose(
    (options, sandbox): (&AgentOptions, &Sandbox),
    launcher: &Launcher,
    (own, command, names): (&AgentOptions, &Command, Option<&TargetNames>),
    connected: Connected,
) -> Result<Local, String> {
    let behind = cell::program_behind(options);
    let boxed = sandbox.wrap(&Contents {
        command,
        behind: behind.as_ref(),
        home: &own.home,
        work: &own.work_dir,
        library: options.library.as_ref(),
        names,
    });
    let boxed = boxed.map_err(|error| not_started(options, &error))?;
    // The mark of all conversations begins alike, so that one sweep finds what is left of them.
    let mark = options.home.to_string_lossy();
    Local::spawn_boxed(launcher, boxed, &mark, connected)
        .await
        .map_err(|error| no_sandbox(sandbox, &error))
}

fn lay_out(options: &AgentOptions, plan: Option<(&Plan, &str)>) -> Result<(), String> {
    let laid_out = cell::prepare(options).and_then(|()| match plan {
        Some((plan, instructions)) => cell::instruct(options, &plan.names, instructions),
        None => Ok(()),
    });
    laid_out.map_err(|error| unwritable(options, &error))
}

fn unwritable(options: &AgentOptions, error: &io::Error) -> String {
    let home = options.home.display();
    let remedy = "Free space there or set its owner.";
    format!("The agent's cell {home} cannot be written: {error}. {remedy}")
}

fn command(options: &AgentOptions, plan: Option<(&Plan, &str)>) -> Command {
    match plan {
        Some((plan, _)) => cell::conversation(options, plan),
        None => cell::version(options),
    }
}

fn no_sandbox(sandbox: &Sandbox, error: &io::Error) -> String {
    let bwrap = sandbox.bwrap.display();
    format!(
        "The agent's sandbox could not be started by {bwrap}: {error}. Install the package bubblewrap. \
         Power and checks work without it."
    )
}

fn not_started(options: &AgentOptions, error: &io::Error) -> String {
    let command = options.command.display();
    let called = options.kind.called();
    if options.kind != Kind::Claude {
        return format!(
            "{called} could not be started: its bridge {command} does not run ({error}). Power and checks \
             work without it."
        );
    }
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "The claude CLI is missing: there is no {command}. Install it (npm package \
             @anthropic-ai/claude-code) or set agent.command. Power and checks work without it."
        ),
        io::ErrorKind::PermissionDenied => format!(
            "The claude CLI {command} may not be executed. Make it executable or set \
             agent.command. Power and checks work without it."
        ),
        _ => format!(
            "The claude CLI {command} could not be started: {error}. Power and checks work without it."
        ),
    }
}
