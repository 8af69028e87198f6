//! Starts a program in the cell of one conversation on this machine: in a sandbox if there is one, otherwise
//! beside the server.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use tokio::process::Command;

use super::dirs::create_dirs;
use super::{command, conversation_dirs, instructions};
use crate::child::{LocalChild, SandboxedCommand, Spawner};
use crate::plan::Plan;
use crate::sandbox::{Connected, Contents, Sandbox};
use crate::{AgentKind, AgentOptions, TargetNames};

/// Name of the directories of a CLI that has no conversation.
const NO_CONVERSATION: &str = "none";

/// What to start.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Program<'a> {
    /// The CLI for a conversation, with the agent's instructions.
    Conversation(&'a Plan, &'a str),
    /// The CLI, which prints its version and exits.
    Version,
    /// Another program, in the place of a CLI that can reach these machines.
    Other {
        program: &'a Path,
        arguments: &'a [OsString],
        names: &'a TargetNames,
    },
}

/// Starts `program`. `connected` receives the connections that are made in the sandbox.
///
/// # Errors
/// A sentence: why it could not be started, and what to do.
pub(crate) async fn start(
    options: &AgentOptions,
    spawner: &Spawner,
    program: Program<'_>,
    connected: Connected,
) -> Result<LocalChild, String> {
    // All conversations of the cell have marks that begin alike, so that one sweep finds their processes.
    let mark = options.home.to_string_lossy();
    let Some(sandbox) = &options.sandbox else {
        set_up(options, program).map_err(|error| not_writable(options, &error))?;
        let command = program.command(options);
        let child = LocalChild::spawn(spawner, command, None, &mark).await;
        return child.map_err(|error| not_started(options, &error));
    };
    let own = options.for_conversation(program.conversation());
    create_dirs(options)
        .and_then(|()| conversation_dirs::open(options, &own))
        .and_then(|()| set_up(&own, program))
        .map_err(|error| not_writable(options, &error))?;
    let wrapped = sandbox.wrap(&Contents {
        command: &program.command(&own.inside_sandbox()),
        bridged_program: command::bridged_program(options),
        home: &own.home,
        work: &own.work_dir,
        library: options.library.as_deref(),
        names: program.names(),
    });
    let (command, sockets) = wrapped.map_err(|error| not_started(options, &error))?;
    let sandboxed = SandboxedCommand {
        sockets,
        privileged: sandbox.account.is_some(),
        connected,
    };
    LocalChild::spawn(spawner, command, Some(sandboxed), &mark)
        .await
        .map_err(|error| no_sandbox(sandbox, &error))
}

fn set_up(options: &AgentOptions, program: Program<'_>) -> io::Result<()> {
    create_dirs(options)?;
    match program {
        Program::Conversation(plan, text) => instructions::write(options, &plan.names, text),
        Program::Version | Program::Other { .. } => Ok(()),
    }
}

impl<'a> Program<'a> {
    fn command(self, options: &AgentOptions) -> Command {
        match self {
            Program::Conversation(plan, _) => command::conversation(options, plan),
            Program::Version => command::version(options),
            Program::Other {
                program, arguments, ..
            } => {
                let mut command = Command::new(program);
                command.args(arguments).env_clear();
                command
            }
        }
    }

    fn conversation(self) -> &'a str {
        match self {
            Program::Conversation(plan, _) => &plan.conversation,
            Program::Version | Program::Other { .. } => NO_CONVERSATION,
        }
    }

    /// The machines that it can reach.
    fn names(self) -> Option<&'a TargetNames> {
        match self {
            Program::Conversation(plan, _) => Some(&plan.names),
            Program::Version => None,
            Program::Other { names, .. } => Some(names),
        }
    }
}

fn not_writable(options: &AgentOptions, error: &io::Error) -> String {
    let home = options.home.display();
    let remedy = "Free space there or set its owner.";
    format!("The agent's cell {home} cannot be written: {error}. {remedy}")
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
    if options.kind != AgentKind::Claude {
        let agent = options.kind.display_name();
        return format!(
            "{agent} could not be started: its bridge {command} failed to start ({error}). Power and checks \
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
