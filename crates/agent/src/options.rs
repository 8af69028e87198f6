//! How one agent is started and limited.

use std::path::PathBuf;
use std::time::Duration;

use crate::account::CellAccess;
use crate::sandbox::{self, Sandbox};
use crate::{Account, AgentKind, Confinement, TargetNames};

/// How the CLI is started and what limits it.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Which agent it is. Everything below about the CLI also holds for a bridge to another agent.
    pub kind: AgentKind,
    /// The agent's name, which a prompt can use.
    pub name: String,
    /// Name of the agent that takes over a prompt whose model could not be reached.
    pub fallback: Option<String>,
    /// The CLI: a path, or a name that is looked up on the `PATH` in `env`, then on the server's.
    pub command: PathBuf,
    /// Arguments before the CLI's own, such as the subcommand of a stand-in.
    pub args: Vec<String>,
    /// The model of prompts that name none.
    pub model: String,
    /// The cell: the CLI's `HOME`, with its sessions, settings and instructions.
    pub home: PathBuf,
    /// The CLI's working directory.
    pub work_dir: PathBuf,
    /// The account that the CLI runs as; none for the server's own. If there is one, `home` and `work_dir`
    /// already exist and belong to it.
    pub account: Option<Account>,
    /// The lock file of the server that owns the cell. If the CLI has its own account, it must not be able to
    /// open this file.
    pub lock: PathBuf,
    /// What the CLI may do with files, whatever its account; none for no confinement.
    pub confinement: Option<Confinement>,
    /// A read-only folder of runbooks by the operator's team, which the instructions mention; see
    /// [`AgentOptions::set_library`]. A runner has its own.
    pub library: Option<PathBuf>,
    /// The CLI's sandbox; none to start it beside the server, with only its confinement.
    pub sandbox: Option<Sandbox>,
    /// The runner that starts the CLI in another container; none to start it here. With a runner, `command`,
    /// `args`, `home`, `work_dir`, `account` and `env` are the runner's own.
    pub runner: Option<RunnerAccess>,
    /// The CLI's environment besides the variables that this crate sets; it inherits nothing. See
    /// [`AgentOptions::inherit`].
    pub env: Vec<(String, String)>,
    /// How the operator renews the login of the model's API here, as a sentence.
    pub login_remedy: String,
    /// Instructions to use instead of the built-in ones.
    pub agent_file: Option<PathBuf>,
    /// The targets of incidents. The agent learns only the names of its own incident's target.
    pub targets: Vec<TargetNames>,
    /// Maximum duration of a turn.
    pub turn_limit: Duration,
    /// How long the CLI may print nothing in a turn while no tool runs. It is ended after that; the operator is
    /// warned at half of it.
    pub silence_limit: Duration,
    /// Maximum number of retries of the CLI when the model's API fails.
    pub max_api_retries: u32,
    /// Maximum number of CLI processes at once.
    pub max_processes: usize,
    /// How long an idle process is kept.
    pub idle_limit: Duration,
}

/// How to reach a runner, and the server's files for it. Contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerAccess {
    /// The runner's socket, in a directory that both share.
    pub socket: PathBuf,
    /// The OpenSSH configuration of the agent.
    pub ssh_config: String,
    /// The host keys for it, in OpenSSH's format. If empty, the CLI can reach no machine, and the runner's SSH
    /// files stay unchanged.
    pub known_hosts: String,
}

/// The variables that the CLI may inherit.
const INHERITED_VARIABLES: &[&str] = &[
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "HTTPS_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];

/// How to renew the login if the configuration does not say more.
const LOGIN_REMEDY: &str = "Set agent.api_key_file to a file with a valid key, or agent.credentials_dir \
     to a directory with the claude CLI's own sign-in (.credentials.json); a drill takes \
     ANTHROPIC_API_KEY. Then start breakglass again.";

impl AgentOptions {
    /// Default of `turn_limit`.
    pub const DEFAULT_TURN_LIMIT: Duration = Duration::from_secs(30 * 60);
    /// Default of `silence_limit`.
    pub const DEFAULT_SILENCE_LIMIT: Duration = Duration::from_secs(120);
    /// Default of `max_api_retries`.
    pub const DEFAULT_MAX_API_RETRIES: u32 = 5;

    /// Options with the default limits for a CLI whose cell is `home`.
    #[must_use]
    pub fn new(command: impl Into<PathBuf>, home: impl Into<PathBuf>) -> AgentOptions {
        let home = home.into();
        AgentOptions {
            kind: AgentKind::default(),
            name: "claude".to_owned(),
            fallback: None,
            command: command.into(),
            args: Vec::new(),
            model: "sonnet".to_owned(),
            work_dir: home.join("work"),
            account: None,
            lock: home.join("lock"),
            confinement: None,
            library: None,
            sandbox: None,
            runner: None,
            home,
            env: Vec::new(),
            login_remedy: LOGIN_REMEDY.to_owned(),
            agent_file: None,
            targets: Vec::new(),
            turn_limit: AgentOptions::DEFAULT_TURN_LIMIT,
            silence_limit: AgentOptions::DEFAULT_SILENCE_LIMIT,
            max_api_retries: AgentOptions::DEFAULT_MAX_API_RETRIES,
            max_processes: 4,
            idle_limit: Duration::from_secs(15 * 60),
        }
    }

    /// Gives the agent read access to the folder `library`.
    pub fn set_library(&mut self, library: PathBuf) {
        if let Some(confinement) = &mut self.confinement {
            confinement.readable.push(library.clone());
        }
        self.library = Some(library);
    }

    /// How the server accesses the cell. Outside the sandbox, its account may not be able to reach its own files.
    pub(crate) fn access(&self) -> CellAccess {
        CellAccess {
            rights: self.account,
            owner: self.sandbox.as_ref().and_then(|sandbox| sandbox.account),
        }
    }

    /// The same options with the paths inside the sandbox.
    pub(crate) fn inside_sandbox(&self) -> AgentOptions {
        AgentOptions {
            home: sandbox::HOME.into(),
            work_dir: sandbox::WORK.into(),
            ..self.clone()
        }
    }

    /// The same options with the directories of the conversation `name`.
    pub(crate) fn for_conversation(&self, name: &str) -> AgentOptions {
        AgentOptions {
            home: self.home.join(name),
            work_dir: self.work_dir.join(name),
            ..self.clone()
        }
    }

    /// The names for the log's target `target`.
    pub(crate) fn names(&self, target: &str) -> Option<&TargetNames> {
        self.targets.iter().find(|names| names.guest == target)
    }

    /// Picks the variables that the CLI may inherit from `vars`, usually [`std::env::vars`]: the path, the locale,
    /// and the login of the model's API; none of the server's secrets.
    pub fn inherit(vars: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
        vars.filter(|(name, _)| INHERITED_VARIABLES.contains(&name.as_str()))
            .collect()
    }
}
