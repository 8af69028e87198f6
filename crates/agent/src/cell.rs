//! The cell that the CLI lives in: its home, its agent file, its environment, its arguments.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use uuid::Uuid;

use crate::account::act_as;
use crate::beneath::Beneath;
use crate::kind::AcpAgent;
use crate::sandbox;
use crate::start::Plan;
use crate::{AgentOptions, Kind, TargetNames};

/// The agent's instructions; `{guest}` and `{host}` stand for the target's names.
const AGENT_FILE: &str = include_str!("../../../agents/breakglass.md");

/// What is added to them where there is a library; `{library}` stands for its path.
const LIBRARY: &str = include_str!("../../../agents/library.md");

/// What the CLI is told to leave alone: nothing of it helps in an incident, and each is a way out
/// of the cell or a turn that nobody asked for.
const QUIET: &[(&str, &str)] = &[
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("DISABLE_INSTALLATION_CHECKS", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
    ("CLAUDE_CODE_DISABLE_CRON", "1"),
    ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1"),
    ("CLAUDE_CODE_DISABLE_BUNDLED_SKILLS", "1"),
];

/// How long one command of the agent may run: as long as a question about it waits for its answer.
const COMMAND_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Where temporary files go, below its home.
const TEMPORARY: &str = "tmp";

/// The session that a process is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Session {
    /// A new one of this name.
    New(Uuid),
    /// The one of this name, with all that was said in it.
    Resume(Uuid),
}

impl Session {
    pub(crate) fn id(self) -> Uuid {
        match self {
            Session::New(id) | Session::Resume(id) => id,
        }
    }
}

/// Makes the cell's directories.
///
/// # Errors
/// What the file system says.
pub(crate) fn prepare(options: &AgentOptions) -> io::Result<()> {
    let (acting, owner) = options.hands();
    act_as(acting, || {
        for directory in [&options.home, &options.work_dir] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let home = Beneath::open(&options.home, owner)?;
        for directory in [agent_files(options), TEMPORARY] {
            home.make_dir(Path::new(directory))?;
        }
        Ok(())
    })
}

/// The instructions for one target, with its names in them.
///
/// # Errors
/// What the file system says of an agent file of one's own.
pub(crate) fn instructions(options: &AgentOptions, names: &TargetNames) -> io::Result<String> {
    let text = match &options.agent_file {
        Some(path) => fs::read_to_string(path)?,
        None => AGENT_FILE.to_owned(),
    };
    let name = format!("name: {}\n", agent_name(names));
    Ok(text
        .replacen("name: breakglass\n", &name, 1)
        .replace("{guest}", &names.guest)
        .replace("{host}", &names.host))
}

/// Writes the instructions for one target afresh. Each target has a file of its own: what is told
/// in one incident must not name another's machines.
///
/// # Errors
/// What the file system says.
pub(crate) fn instruct(options: &AgentOptions, names: &TargetNames, text: &str) -> io::Result<()> {
    let name = format!("{}.md", agent_name(names));
    let text = format!("{text}{}", library_section(options));
    let (acting, owner) = options.hands();
    act_as(acting, || {
        let directory =
            Beneath::open(&options.home, owner)?.make_dir(Path::new(agent_files(options)))?;
        directory.write(&name, text.as_bytes(), Mode::RUSR | Mode::WUSR)
    })
}

/// Where the agent finds its library.
pub(crate) fn library_path(options: &AgentOptions) -> Option<&Path> {
    let outside = options.library.as_deref()?;
    Some(match options.sandbox {
        Some(_) => Path::new(sandbox::LIBRARY),
        None => outside,
    })
}

/// What its instructions say of its library; empty where it has none. Made where the CLI is started, since
/// a runner has a library of its own.
pub(crate) fn library_section(options: &AgentOptions) -> String {
    library_path(options).map_or_else(String::new, |path| {
        LIBRARY.replace("{library}", &path.to_string_lossy())
    })
}

/// What the CLI knows the agent of this target by.
fn agent_name(names: &TargetNames) -> String {
    format!("breakglass-{}", names.guest)
}

fn agent_file(options: &AgentOptions, names: &TargetNames) -> PathBuf {
    let name = format!("{}.md", agent_name(names));
    options.home.join(agent_files(options)).join(name)
}

/// Where the instructions are, below the home.
fn agent_files(options: &AgentOptions) -> &'static str {
    match options.kind {
        Kind::Claude => ".claude/agents",
        Kind::Acp(_) => ".breakglass/agents",
    }
}

/// Makes this process the one that owns the cell, if no other is; the lock lasts as long as the
/// file is open.
pub(crate) fn claim(options: &AgentOptions) -> Option<fs::File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(options.lock.parent()?)
        .ok()?;
    let mut open = fs::OpenOptions::new();
    let file = open.write(true).create(true).truncate(false).mode(0o600);
    let file = file.open(&options.lock).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// A reader sees the old file or the new one, never a part.
///
/// # Errors
/// What the file system says.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let fresh = path.with_extension(format!("{}.tmp", Uuid::new_v4().simple()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)?;
    // Whatever the mask of new files says.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, path)
}

/// The CLI, ready to be spawned for a conversation.
pub(crate) fn conversation(options: &AgentOptions, plan: &Plan) -> Command {
    let mut command = bare(options);
    command.envs(plan.env.iter().map(|(name, value)| (name, value)));
    match &options.kind {
        Kind::Claude => converse(&mut command, plan),
        Kind::Acp(agent) => bridge(&mut command, options, plan, agent),
    }
    command
}

fn converse(command: &mut Command, plan: &Plan) {
    command.args(["-p", "--agent", &agent_name(&plan.names)]);
    command.args(["--verbose", "--include-partial-messages"]);
    command.args([
        "--input-format",
        "stream-json",
        "--output-format",
        "stream-json",
    ]);
    command.args(["--permission-prompt-tool", "stdio", "--model", &plan.model]);
    converse_in(command, plan.session);
}

fn converse_in(command: &mut Command, session: Session) {
    match session {
        Session::New(id) => command.args(["--session-id", &id.to_string()]),
        Session::Resume(id) => command.args(["--resume", &id.to_string()]),
    };
}

fn bridge(command: &mut Command, options: &AgentOptions, plan: &Plan, agent: &AcpAgent) {
    converse_in(command, plan.session);
    command.args(["--model", &plan.model, "--instructions"]);
    command.arg(agent_file(options, &plan.names));
    command.args(["--max-retries", &options.max_api_retries.to_string()]);
    behind(command, options, agent);
}

/// The agent that the bridge starts.
fn behind(command: &mut Command, options: &AgentOptions, agent: &AcpAgent) {
    command.arg("--").arg(program_of(options, agent));
    command.args(agent.all_args());
}

/// The program that a bridge starts; none where there is no bridge.
pub(crate) fn program_behind(options: &AgentOptions) -> Option<PathBuf> {
    match &options.kind {
        Kind::Claude => None,
        Kind::Acp(agent) => Some(program_of(options, agent)),
    }
}

/// Its file itself: a link may lead out of what a sandbox shows.
fn program_of(options: &AgentOptions, agent: &AcpAgent) -> PathBuf {
    let found = find(options, &agent.command);
    found.canonicalize().unwrap_or(found)
}

/// The CLI, ready to be asked for its version.
pub(crate) fn version(options: &AgentOptions) -> Command {
    let mut command = bare(options);
    command.arg("--version");
    if let Kind::Acp(agent) = &options.kind {
        behind(&mut command, options, agent);
    }
    command
}

fn bare(options: &AgentOptions) -> Command {
    let mut command = Command::new(find(options, &options.command));
    command.args(&options.args).current_dir(&options.work_dir);
    command.env_clear().envs(environment(options));
    command
}

/// The whole environment, without the mark that [`crate::child`] adds.
fn environment(options: &AgentOptions) -> Vec<(String, String)> {
    let home = options.home.to_string_lossy().into_owned();
    let temporary = temporary(&options.home).to_string_lossy().into_owned();
    let mut all = options.env.clone();
    let own = match &options.kind {
        Kind::Claude => claudes_own(options, &temporary),
        Kind::Acp(agent) => agent.env(&all),
    };
    all.extend(own);
    let places = [("TMPDIR", temporary), ("HOME", home)];
    all.extend(places.map(|(name, value)| (name.to_owned(), value)));
    all
}

fn claudes_own(options: &AgentOptions, temporary: &str) -> Vec<(String, String)> {
    let limit = COMMAND_LIMIT
        .min(options.turn_limit)
        .as_millis()
        .to_string();
    let own = [
        (
            "CLAUDE_CODE_MAX_RETRIES",
            options.max_api_retries.to_string(),
        ),
        ("BASH_DEFAULT_TIMEOUT_MS", limit.clone()),
        ("BASH_MAX_TIMEOUT_MS", limit),
        ("CLAUDE_CODE_TMPDIR", temporary.to_owned()),
    ];
    let quiet = QUIET
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    let all = quiet.chain(own);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A bare name is looked up on the cell's `PATH`, and then on the server's own.
fn find(options: &AgentOptions, command: &Path) -> PathBuf {
    if command.components().count() != 1 {
        return command.to_owned();
    }
    let cells = options.env.iter().rev().find(|(name, _)| name == "PATH");
    let cells = cells.map(|(_, path)| OsString::from(path));
    let paths = [cells, std::env::var_os("PATH")];
    let directories = paths.iter().flatten().flat_map(std::env::split_paths);
    let found = directories
        .map(|directory| directory.join(command))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| command.to_owned())
}

fn temporary(home: &Path) -> PathBuf {
    home.join(TEMPORARY)
}

/// Where the CLI keeps a login of its own.
pub(crate) fn credentials(home: &Path) -> PathBuf {
    home.join(".claude/.credentials.json")
}
