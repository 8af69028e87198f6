//! The CLI's command line and its whole environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::dirs::TEMPORARY_DIR;
use super::instructions;
use crate::kind::AcpAgent;
use crate::plan::{CliSession, Plan};
use crate::{AgentKind, AgentOptions};

/// Features of the CLI that are switched off: none helps in an incident, and each leaves the cell or begins a
/// turn without a prompt.
const DISABLED_FEATURES: &[&str] = &[
    "DISABLE_TELEMETRY",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_AUTOUPDATER",
    "DISABLE_INSTALLATION_CHECKS",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
    "CLAUDE_CODE_DISABLE_CRON",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY",
    "CLAUDE_CODE_DISABLE_BUNDLED_SKILLS",
];

/// Maximum duration of one command of the agent: as long as an approval may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The command that runs the CLI for a conversation.
pub(super) fn conversation(options: &AgentOptions, plan: &Plan) -> Command {
    let mut command = base(options);
    command.envs(plan.env.iter().map(|(name, value)| (name, value)));
    match &options.kind {
        AgentKind::Claude => claude_arguments(&mut command, plan),
        AgentKind::Acp(agent) => bridge_arguments(&mut command, options, plan, agent),
    }
    command
}

/// The command that makes the CLI print its version.
pub(super) fn version(options: &AgentOptions) -> Command {
    let mut command = base(options);
    command.arg("--version");
    if let AgentKind::Acp(agent) = &options.kind {
        bridged_command(&mut command, options, agent);
    }
    command
}

/// The program that a bridge starts; none if there is no bridge. Links are resolved, because they may lead out
/// of what a sandbox shows.
pub(super) fn bridged_program(options: &AgentOptions) -> Option<PathBuf> {
    let AgentKind::Acp(agent) = &options.kind else {
        return None;
    };
    let program = find(options, &agent.command);
    Some(program.canonicalize().unwrap_or(program))
}

fn claude_arguments(command: &mut Command, plan: &Plan) {
    command.args(["-p", "--agent", &instructions::agent_name(&plan.names)]);
    command.args(["--verbose", "--include-partial-messages"]);
    command.args(["--input-format", "stream-json"]);
    command.args(["--output-format", "stream-json"]);
    command.args(["--permission-prompt-tool", "stdio", "--model", &plan.model]);
    session_arguments(command, plan.session);
}

fn bridge_arguments(command: &mut Command, options: &AgentOptions, plan: &Plan, agent: &AcpAgent) {
    session_arguments(command, plan.session);
    command.args(["--model", &plan.model, "--instructions"]);
    command.arg(instructions::file(options, &plan.names));
    command.args(["--max-retries", &options.max_api_retries.to_string()]);
    bridged_command(command, options, agent);
}

fn session_arguments(command: &mut Command, session: CliSession) {
    let flag = match session {
        CliSession::New(_) => "--session-id",
        CliSession::Resume(_) => "--resume",
    };
    command.args([flag, &session.id().to_string()]);
}

fn bridged_command(command: &mut Command, options: &AgentOptions, agent: &AcpAgent) {
    command.arg("--").args(bridged_program(options));
    command.args(agent.all_args());
}

fn base(options: &AgentOptions) -> Command {
    let mut command = Command::new(find(options, &options.command));
    command.args(&options.args).current_dir(&options.work_dir);
    command.env_clear().envs(environment(options));
    command
}

/// The whole environment, except the mark that [`crate::child`] adds.
fn environment(options: &AgentOptions) -> Vec<(String, String)> {
    let home = options.home.to_string_lossy().into_owned();
    let temporary = options.home.join(TEMPORARY_DIR);
    let temporary = temporary.to_string_lossy().into_owned();
    let mut all = options.env.clone();
    all.extend(match &options.kind {
        AgentKind::Claude => claude_environment(options, &temporary),
        AgentKind::Acp(agent) => agent.env(&all),
    });
    all.extend([("TMPDIR".to_owned(), temporary), ("HOME".to_owned(), home)]);
    all
}

fn claude_environment(options: &AgentOptions, temporary: &str) -> Vec<(String, String)> {
    let timeout = COMMAND_TIMEOUT.min(options.turn_limit);
    let timeout_ms = timeout.as_millis().to_string();
    let retries = options.max_api_retries.to_string();
    let set = [
        ("CLAUDE_CODE_MAX_RETRIES", &*retries),
        ("BASH_DEFAULT_TIMEOUT_MS", &timeout_ms),
        ("BASH_MAX_TIMEOUT_MS", &timeout_ms),
        ("CLAUDE_CODE_TMPDIR", temporary),
    ];
    let disabled = DISABLED_FEATURES.iter().map(|name| (*name, "1"));
    disabled
        .chain(set)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Looks a bare name up on the cell's `PATH`, and then on the server's own.
fn find(options: &AgentOptions, command: &Path) -> PathBuf {
    if command.components().count() != 1 {
        return command.to_owned();
    }
    let cell_path = options.env.iter().rev().find(|(name, _)| name == "PATH");
    let cell_path = cell_path.map(|(_, path)| OsString::from(path));
    let paths = [cell_path, std::env::var_os("PATH")];
    let mut directories = paths.iter().flatten().flat_map(std::env::split_paths);
    let found = directories.find_map(|directory| {
        let file = directory.join(command);
        file.is_file().then_some(file)
    });
    found.unwrap_or_else(|| command.to_owned())
}
