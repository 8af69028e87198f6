use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sandbox::{self, Sandbox};
use crate::{Account, Kind};

/// How the CLI is started and what bounds it.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Which agent it is. All that is said of the CLI below holds for a bridge to another agent too.
    pub kind: Kind,
    /// What a prompt calls it.
    pub name: String,
    /// The agent, by its name, that goes on by itself with a prompt whose model could not be reached.
    pub fallback: Option<String>,
    /// The CLI: a path, or a name that is looked up on the `PATH` in `env`, then on the server's.
    pub command: PathBuf,
    /// Arguments put before the CLI's own, such as the subcommand of a stand-in.
    pub args: Vec<String>,
    /// The model of prompts that name none.
    pub model: String,
    /// The cell: the CLI's `HOME`, where its sessions, settings and agent file live.
    pub home: PathBuf,
    /// The CLI's working directory.
    pub work_dir: PathBuf,
    /// The account that the CLI runs as; none for the server's own. Then `home` and `work_dir` have
    /// to be there already, and be that account's.
    pub account: Option<Account>,
    /// A file that is locked by the server whose cell it is. To be kept out of the CLI's reach
    /// where it has an account of its own.
    pub lock: PathBuf,
    /// What the CLI may do with files, whatever its account; none for whatever that account may.
    pub walls: Option<Walls>,
    /// A folder of runbooks by the operator's team, which the agent reads and its instructions name;
    /// see [`AgentOptions::lend`]. A runner has its own.
    pub library: Option<PathBuf>,
    /// The sandbox that the CLI is put into; none to start it beside the server, with walls alone.
    pub sandbox: Option<Sandbox>,
    /// The runner that starts the CLI, in another container; none to start it here. With one,
    /// `command`, `args`, `home`, `work_dir`, `account` and `env` are the runner's own affair.
    pub runner: Option<RunnerAccess>,
    /// The environment that the CLI gets besides what this crate sets itself; nothing is
    /// inherited. See [`AgentOptions::inherit`].
    pub env: Vec<(String, String)>,
    /// How the login of the model's API is renewed here, as a sentence for the operator.
    pub sign_in: String,
    /// An agent file to use in place of the built-in one.
    pub agent_file: Option<PathBuf>,
    /// The machines that incidents are about. The agent is told the names of its incident's own.
    pub targets: Vec<TargetNames>,
    /// How long a turn may take.
    pub turn_limit: Duration,
    /// How long the CLI may be silent in a turn, no tool running, before it is ended; the
    /// operator is told at half of it.
    pub silence_limit: Duration,
    /// How often the CLI tries again when the model's API fails.
    pub max_api_retries: u32,
    /// How many CLI processes may live at once.
    pub max_processes: usize,
    /// How long a process without a turn is kept warm.
    pub idle_limit: Duration,
}

/// What the CLI may do with files besides reading and running what it finds. A kernel without
/// Landlock has no such walls; that is logged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walls {
    /// Files and directories that it can't read, nor anything in them.
    pub private: Vec<PathBuf>,
    /// What it may read all the same, in a private directory.
    pub readable: Vec<PathBuf>,
    /// Directories that it may change, besides devices.
    pub writable: Vec<PathBuf>,
}

/// How a runner is reached, and what it is given of the server. Nothing of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerAccess {
    /// The socket that it listens on, in a directory that both share.
    pub socket: PathBuf,
    /// The OpenSSH configuration by which the agent reaches its machines.
    pub ssh_config: String,
    /// The host keys that go with it, in OpenSSH's format. Empty: the CLI is to reach no machine, and
    /// the runner's SSH files stay as they are.
    pub known_hosts: String,
}

/// What the agent calls one target's two machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetNames {
    /// The guest, as in `ssh GUEST …`; also the target's name in the log. Letters, digits, `-`.
    pub guest: String,
    /// The host, as in `ssh HOST VERB`.
    pub host: String,
}

/// What the CLI may inherit by name: where things are, how they are shown, and its own login.
const INHERITED: &[&str] = &[
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

/// How a login is renewed where no more is known.
const SIGN_IN: &str = "Set agent.api_key_file to a file with a valid key, or agent.credentials_dir \
     to a directory with the claude CLI's own sign-in (.credentials.json); a drill takes \
     ANTHROPIC_API_KEY. Then start breakglass again.";

impl AgentOptions {
    /// Options with the usual bounds for a CLI whose cell is `home`.
    #[must_use]
    pub fn new(command: impl Into<PathBuf>, home: impl Into<PathBuf>) -> AgentOptions {
        let home = home.into();
        AgentOptions {
            kind: Kind::default(),
            name: "claude".to_owned(),
            fallback: None,
            command: command.into(),
            args: Vec::new(),
            model: "sonnet".to_owned(),
            work_dir: home.join("work"),
            account: None,
            lock: home.join("lock"),
            walls: None,
            library: None,
            sandbox: None,
            runner: None,
            home,
            env: Vec::new(),
            sign_in: SIGN_IN.to_owned(),
            agent_file: None,
            targets: Vec::new(),
            turn_limit: Duration::from_secs(30 * 60),
            silence_limit: Duration::from_secs(180),
            max_api_retries: 10,
            max_processes: 4,
            idle_limit: Duration::from_secs(15 * 60),
        }
    }

    /// Gives the agent the folder `library` to read, and to change nothing in.
    pub fn lend(&mut self, library: PathBuf) {
        if let Some(walls) = &mut self.walls {
            walls.readable.push(library.clone());
        }
        self.library = Some(library);
    }

    /// Whose rights the server takes on to write into the cell, and whose what it writes becomes. A sandbox's
    /// account may not get as far as its own files are from outside.
    pub(crate) fn hands(&self) -> (Option<Account>, Option<Account>) {
        match &self.sandbox {
            Some(sandbox) => (self.account, sandbox.account),
            None => (self.account, None),
        }
    }

    /// The same for the CLI of one conversation, as it is inside its sandbox.
    pub(crate) fn inside(&self) -> AgentOptions {
        AgentOptions {
            home: sandbox::HOME.into(),
            work_dir: sandbox::WORK.into(),
            ..self.clone()
        }
    }

    /// The same with directories that no other conversation has, which is called `name`.
    pub(crate) fn apart(&self, name: &str) -> AgentOptions {
        AgentOptions {
            home: self.home.join(name),
            work_dir: self.work_dir.join(name),
            ..self.clone()
        }
    }

    /// The names of the target that the log calls `target`.
    pub(crate) fn names(&self, target: &str) -> Option<&TargetNames> {
        self.targets.iter().find(|names| names.guest == target)
    }

    /// Picks from `vars` (usually [`std::env::vars`]) what the CLI may inherit: the path, the
    /// locale, and the login of the model's API. All else, the server's secrets first, stays out.
    pub fn inherit(vars: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
        vars.filter(|(name, _)| INHERITED.contains(&name.as_str()))
            .collect()
    }
}
