//! The validated configuration, as plain data. A drill and tests build it without a file.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use breakglass_agent::{Account, AgentOptions};
use breakglass_control::{HostKeyPolicy, Target};
use breakglass_log::Retention;
use breakglass_model::Autonomy;
use ipnet::IpNet;
use secrecy::SecretString;

use super::agents::OtherAgent;
use super::notify::NotifyConfig;
use super::presets::{self, Preset};
use crate::allowed_host::AllowedHost;
use crate::token::ApiToken;

/// The complete configuration of `breakglass serve`, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the HTTP server.
    pub listen: SocketAddr,
    /// A second address that serves only `/metrics`, without an identity.
    pub metrics_listen: Option<SocketAddr>,
    /// Directory for the incident log, pinned host keys and the agent's cell.
    pub data_dir: PathBuf,
    /// Host names of the page, in lower case, without a port; addresses and `localhost` always work.
    pub allowed_hosts: Vec<String>,
    /// How people and programs sign in.
    pub auth: AuthConfig,
    /// Connections to guests and hosts.
    pub ssh: SshConfig,
    /// The agent.
    pub agent: AgentConfig,
    /// Additional agents, which a prompt may name.
    pub agents: Vec<OtherAgent>,
    /// Limits of the server and of each identity.
    pub limits: LimitsConfig,
    /// Retention of closed incidents.
    pub record: RecordConfig,
    /// The machines to be saved.
    pub targets: Vec<Target>,
    /// Maximum age of the last drill, in days; 0: no limit.
    pub drill_max_age_days: u16,
    /// Notifications.
    pub notify: NotifyConfig,
    /// Files that only the server may read: all secrets, and the configuration file.
    pub private: Vec<PathBuf>,
    /// Those of the private files that contain a secret.
    pub secrets: Vec<PathBuf>,
}

impl Config {
    /// The guests' addresses; guests that are configured by name are missing.
    #[must_use]
    pub fn guests(&self) -> Vec<IpAddr> {
        let targets = self.targets.iter();
        targets
            .filter_map(|target| target.guest.host.parse().ok())
            .collect()
    }
}

/// How people and programs sign in: by a proxy, by the API token, or both.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Peers whose user header is trusted; empty: none.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which a trusted proxy names the operator.
    pub user_header: HeaderName,
    /// The API token, hashed.
    pub token: Option<ApiToken>,
    /// The identity of the token's holder.
    pub token_identity: String,
    /// Whether the session cookie is always marked `Secure`.
    pub secure_cookie: bool,
}

/// Connections to guests and hosts.
#[derive(Debug, Clone)]
pub struct SshConfig {
    /// The private key, in OpenSSH's format.
    pub key_file: PathBuf,
    /// How host keys are verified.
    pub host_keys: HostKeyPolicy,
    /// File with pinned host keys, in OpenSSH's format.
    pub known_hosts: PathBuf,
    /// Timeout of a connection.
    pub connect_timeout: Duration,
    /// Interval between keep-alive messages on an idle connection.
    pub keepalive: Duration,
}

/// The agent. The command need not exist: power works without it, and a check of readiness reports it.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Whether the agent is enabled.
    pub enabled: bool,
    /// The claude CLI; a bare name is searched for on `PATH`.
    pub command: PathBuf,
    /// Additional arguments.
    pub args: Vec<String>,
    /// The default model.
    pub model: String,
    /// The models that a prompt may name; includes `model`.
    pub models: Vec<String>,
    /// What the agent may do without asking.
    pub autonomy: Autonomy,
    /// Maximum duration of a turn.
    pub turn_limit: Duration,
    /// Maximum number of retries of the CLI while its model is unreachable.
    pub max_api_retries: u32,
    /// The key of the model's API.
    pub api_key: Option<ModelKey>,
    /// The address of the model's API, if it is not the vendor's.
    pub base_url: Option<String>,
    /// A directory with the CLI's own sign-in, which is copied into the cell.
    pub credentials_dir: Option<PathBuf>,
    /// The CLI's account, if it is not the server's own.
    pub user: Option<Account>,
    /// The folder of runbooks that the agent reads; an absolute path.
    pub library: Option<PathBuf>,
    /// How the CLI is isolated.
    pub sandbox: SandboxMode,
    /// Hosts that the egress proxy allows in addition to the model's API.
    pub egress: Vec<AllowedHost>,
    /// The agent of `[[agents]]` that takes over when the model is unreachable.
    pub fallback: Option<String>,
    /// The socket of a runner that starts the CLI in another container. With a runner, `command`, `args`,
    /// `api_key`, `base_url`, `credentials_dir`, `user` and `library` are options of the runner.
    pub runner: Option<PathBuf>,
    /// The CLI's uid in the runner's container, the only one that may use the bastion.
    pub runner_uid: Option<u32>,
    /// Interval between a running server's test questions to the model; `None`: never.
    pub model_check: Option<Duration>,
    /// The file with the operator's own rules for read-only commands, and its text.
    pub rules: Option<(PathBuf, String)>,
    /// The prompts that the page sends with one tap.
    pub presets: Vec<Preset>,
}

/// A key of the model's API.
#[derive(Debug, Clone)]
pub struct ModelKey {
    /// The key.
    pub secret: SecretString,
    /// The file that it was read from, if any.
    pub file: Option<PathBuf>,
}

/// How the CLI is isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SandboxMode {
    /// By a sandbox. If none can be made, by confinement, and then it asks before it changes anything.
    #[default]
    Auto,
    /// By a sandbox. If none can be made, there is no agent.
    Required,
    /// By confinement, with any autonomy.
    None,
}

/// Limits of the server and of each identity.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Maximum number of open event streams per identity.
    pub streams_per_identity: usize,
    /// Maximum number of open TCP connections.
    pub connections: usize,
    /// Maximum size of a request body.
    pub body_bytes: usize,
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig {
            streams_per_identity: 32,
            connections: 1024,
            body_bytes: 64 * 1024,
        }
    }
}

/// Retention of closed incidents. Open ones are always kept.
#[derive(Debug, Clone)]
pub struct RecordConfig {
    /// Limits by age and by number.
    pub keep: Retention,
    /// Maximum size of the log; from nine tenths on, the oldest closed incidents are removed.
    pub max_bytes: u64,
}

impl Default for RecordConfig {
    fn default() -> RecordConfig {
        RecordConfig {
            keep: Retention::default(),
            max_bytes: 4 << 30,
        }
    }
}

/// Maximum length of the path of a Unix socket.
pub(crate) const SOCKET_PATH_MAX_BYTES: usize = 107;
/// Maximum length of the path of the bastion's socket directory; the names in it need the rest of
/// [`SOCKET_PATH_MAX_BYTES`].
pub(crate) const SOCKETS_DIR_MAX_BYTES: usize = 40;
/// Name of the bastion's socket directory.
pub(crate) const SOCKETS_DIR_NAME: &str = "bastion";

impl AgentConfig {
    /// The CLI's uid.
    #[must_use]
    pub fn uid(&self) -> u32 {
        let with_runner = self.runner.as_ref().and(self.runner_uid);
        let configured = self.user.map(|account| account.uid);
        with_runner
            .or(configured)
            .unwrap_or_else(|| rustix::process::geteuid().as_raw())
    }

    /// The hosts that can be reached from the agent's sandbox: the model's API, the hosts at which the CLI renews
    /// its own sign-in, and `egress`.
    #[must_use]
    pub fn allowed_hosts(&self) -> Vec<AllowedHost> {
        let api = self.base_url.as_deref().and_then(AllowedHost::of_url);
        let mut hosts = vec![api.unwrap_or_else(AllowedHost::vendor)];
        if self.credentials_dir.is_some() {
            hosts.extend(AllowedHost::sign_in());
        }
        for host in &self.egress {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        hosts
    }

    /// How to renew the login of the model's API in this deployment, as a remedy.
    #[must_use]
    pub fn renew_login(&self) -> String {
        if let Some(socket) = &self.runner {
            return format!(
                "put a valid key into the file of the runner's --api-key-file, or a new sign-in \
                 (.credentials.json) into its --credentials-dir, and restart the runner that listens \
                 on {}",
                socket.display()
            );
        }
        let file = self.api_key.as_ref().and_then(|key| key.file.as_ref());
        match (file, &self.credentials_dir) {
            (Some(file), _) => format!(
                "put a valid key into {} (agent.api_key_file) and restart breakglass",
                file.display()
            ),
            (None, Some(dir)) => format!(
                "sign in again on a machine with a browser (claude auth login), copy its \
                 ~/.claude/.credentials.json into {} (agent.credentials_dir), and restart \
                 breakglass",
                dir.display()
            ),
            (None, None) => "set agent.api_key_file to a file with a valid key, or \
                             agent.credentials_dir to a directory with the claude CLI's own sign-in \
                             (.credentials.json), and restart breakglass; a drill reads \
                             ANTHROPIC_API_KEY"
                .to_owned(),
        }
    }

    /// The directory of the bastion's sockets: next to the runner's socket, otherwise in `data_dir`. If that path
    /// is too long for a socket, a directory of this process in the system's temporary directory.
    #[must_use]
    pub fn sockets_dir(&self, data_dir: &std::path::Path) -> PathBuf {
        if let Some(shared) = self.runner.as_ref().and_then(|socket| socket.parent()) {
            return shared.join(SOCKETS_DIR_NAME);
        }
        let default = data_dir.join(SOCKETS_DIR_NAME);
        if default.as_os_str().len() <= SOCKETS_DIR_MAX_BYTES {
            return default;
        }
        std::env::temp_dir().join(format!("breakglass-{}", std::process::id()))
    }
}

impl Default for AgentConfig {
    fn default() -> AgentConfig {
        AgentConfig {
            enabled: true,
            command: PathBuf::from("claude"),
            args: Vec::new(),
            model: "sonnet".to_owned(),
            models: ["sonnet", "opus", "haiku"].map(str::to_owned).to_vec(),
            autonomy: Autonomy::ApproveMutations,
            turn_limit: AgentOptions::DEFAULT_TURN_LIMIT,
            max_api_retries: AgentOptions::DEFAULT_MAX_API_RETRIES,
            api_key: None,
            base_url: None,
            credentials_dir: None,
            user: None,
            library: None,
            sandbox: SandboxMode::Auto,
            egress: Vec::new(),
            fallback: None,
            runner: None,
            runner_uid: None,
            model_check: Some(Duration::from_secs(24 * 3600)),
            rules: None,
            presets: presets::built_in(),
        }
    }
}
