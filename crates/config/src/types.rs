use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use breakglass_agent::Account;
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

/// Everything that `serve` needs to know, checked: a value of this type is a whole configuration.
/// Plain data, so that a drill can be built without a file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where `/metrics` is served as well, to whoever gets there.
    pub metrics_listen: Option<SocketAddr>,
    /// Holds the record, the pinned host keys and the agent's cell.
    pub data_dir: PathBuf,
    /// Names under which the page is reached, lower case, without port; addresses and
    /// `localhost` always work.
    pub allowed_hosts: Vec<String>,
    /// Who may come in.
    pub auth: AuthConfig,
    /// How guest and host are reached.
    pub ssh: SshConfig,
    /// The agent.
    pub agent: AgentConfig,
    /// Further agents, which a prompt may name.
    pub agents: Vec<OtherAgent>,
    /// What one server and one identity may hold.
    pub limits: LimitsConfig,
    /// How long the record keeps closed incidents.
    pub record: RecordConfig,
    /// The machines to be saved.
    pub targets: Vec<Target>,
    /// How old the last drill may be, in days; 0: nobody wants to know.
    pub drill_max_age_days: u16,
    /// What is told to receivers outside.
    pub notify: NotifyConfig,
    /// Files that are nobody's but the server's: every secret, and the configuration itself.
    pub private: Vec<PathBuf>,
    /// Of these, the files with a secret in them.
    pub secrets: Vec<PathBuf>,
}

impl Config {
    /// The guests that are given by address.
    #[must_use]
    pub fn guests(&self) -> Vec<IpAddr> {
        let guests = self.targets.iter();
        guests
            .filter_map(|target| target.guest.host.parse().ok())
            .collect()
    }
}

/// Who may come in. At least one way is configured.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Peers whose user header counts; empty: it never counts.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which a trusted proxy names the operator.
    pub user_header: HeaderName,
    /// The API token, hashed.
    pub token: Option<ApiToken>,
    /// The identity that the token stands for.
    pub token_identity: String,
    /// Whether the session cookie is marked `Secure` whatever the request says.
    pub secure_cookie: bool,
}

/// How guest and host are reached.
#[derive(Debug, Clone)]
pub struct SshConfig {
    /// The private key, in OpenSSH's format.
    pub key_file: PathBuf,
    /// What is done about a host's key.
    pub host_keys: HostKeyPolicy,
    /// Where host keys are pinned, in OpenSSH's format.
    pub known_hosts: PathBuf,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// How often a quiet connection is probed.
    pub keepalive: Duration,
}

/// The agent. The command need not exist: power works without it, and readiness says so.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// The claude CLI; a bare name is searched for on `PATH`.
    pub command: PathBuf,
    /// More arguments for it.
    pub args: Vec<String>,
    /// The model unless a prompt names another.
    pub model: String,
    /// The models that a prompt may name; holds `model`.
    pub models: Vec<String>,
    /// What it may do without asking.
    pub autonomy: Autonomy,
    /// Longest turn.
    pub turn_limit: Duration,
    /// Longest silence of the CLI while a turn runs.
    pub silence_limit: Duration,
    /// How often the CLI asks an unreachable model again.
    pub max_api_retries: u32,
    /// The model API's key.
    pub api_key: Option<ModelKey>,
    /// The model API's address, where it is not the vendor's.
    pub base_url: Option<String>,
    /// A directory with the CLI's own sign-in, copied into its cell.
    pub credentials_dir: Option<PathBuf>,
    /// The account that the CLI runs as, where that is not the server's own.
    pub user: Option<Account>,
    /// A folder of runbooks that the agent reads; absolute.
    pub library: Option<PathBuf>,
    /// What keeps the CLI in.
    pub sandbox: SandboxMode,
    /// What its proxy lets through besides the model's API.
    pub egress: Vec<AllowedHost>,
    /// The agent of `[[agents]]` that goes on by itself where the model can't be reached.
    pub fallback: Option<String>,
    /// The socket of a runner that starts the CLI in another container. With one, `command`,
    /// `args`, `api_key`, `base_url`, `credentials_dir`, `user` and `library` are the runner's affair.
    pub runner: Option<PathBuf>,
    /// The uid that the CLI has behind the runner: the one that may use the agent's bastion.
    pub runner_uid: Option<u32>,
    /// How often a running server puts one short question to the model; none: never.
    pub model_check: Option<Duration>,
    /// A file with rules of the operator's own for what only reads, and its text.
    pub rules: Option<(PathBuf, String)>,
    /// The prompts that are one tap on the page.
    pub presets: Vec<Preset>,
}

/// A key of the model's API.
#[derive(Debug, Clone)]
pub struct ModelKey {
    /// Itself.
    pub secret: SecretString,
    /// The file that it came from, if it did.
    pub file: Option<PathBuf>,
}

/// Whether the CLI lives in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SandboxMode {
    /// Where one can be made; else it has walls alone, and asks before it changes anything.
    #[default]
    Auto,
    /// Always: where none can be made, there is no agent.
    Required,
    /// Never, whatever it may do without asking.
    None,
}

/// What one server and one identity may hold.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Event streams open at once, per identity.
    pub streams_per_identity: usize,
    /// TCP connections open at once.
    pub connections: usize,
    /// Largest request body, in bytes.
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

/// How long the record keeps closed incidents. Open ones are kept in any case.
#[derive(Debug, Clone)]
pub struct RecordConfig {
    /// By age and by number.
    pub keep: Retention,
    /// Most bytes of the record; from nine tenths on, the oldest closed incidents go.
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

/// The longest directory for the bastion's sockets: a socket's whole path has 107 bytes at the most,
/// and the names below it take the rest.
pub(crate) const SOCKETS_DIR: usize = 40;
/// Its name.
pub(crate) const SOCKETS_NAME: &str = "bastion";

impl AgentConfig {
    /// The uid that the CLI has.
    #[must_use]
    pub fn uid(&self) -> u32 {
        let elsewhere = self.runner.as_ref().and(self.runner_uid);
        let here = self.user.map(|account| account.uid);
        elsewhere
            .or(here)
            .unwrap_or_else(|| rustix::process::geteuid().as_raw())
    }

    /// What can be reached from the agent's sandbox: the model's API, where the CLI renews a sign-in of its
    /// own, and what is configured besides.
    #[must_use]
    pub fn listed(&self) -> Vec<AllowedHost> {
        let api = self.base_url.as_deref().and_then(AllowedHost::of_url);
        let mut listed = vec![api.unwrap_or_else(AllowedHost::vendor)];
        if self.credentials_dir.is_some() {
            listed.extend(AllowedHost::sign_in());
        }
        for more in &self.egress {
            if !listed.contains(more) {
                listed.push(more.clone());
            }
        }
        listed
    }

    /// How the login of the model's API is renewed here, as a remedy.
    #[must_use]
    pub fn renew_login(&self) -> String {
        if let Some(socket) = &self.runner {
            return format!(
                "put a valid key into the file of the runner's --api-key-file, or a new sign-in \
                 (.credentials.json) into its --credentials-dir, and start the runner that listens \
                 on {} again",
                socket.display()
            );
        }
        let file = self.api_key.as_ref().and_then(|key| key.file.as_ref());
        match (file, &self.credentials_dir) {
            (Some(file), _) => format!(
                "put a valid key into {} (agent.api_key_file) and start breakglass again",
                file.display()
            ),
            (None, Some(dir)) => format!(
                "sign in anew on a machine with a browser (claude auth login), copy its \
                 ~/.claude/.credentials.json into {} (agent.credentials_dir), and start breakglass \
                 again",
                dir.display()
            ),
            (None, None) => "set agent.api_key_file to a file with a valid key, or \
                             agent.credentials_dir to a directory with the claude CLI's own sign-in \
                             (.credentials.json), and start breakglass again; a drill takes \
                             ANTHROPIC_API_KEY"
                .to_owned(),
        }
    }

    /// Where the bastion's sockets go: beside the runner's; else into `data_dir`, or where that path
    /// is too long for a socket, into a directory of this process below the system's temporary one.
    #[must_use]
    pub fn sockets_dir(&self, data_dir: &std::path::Path) -> PathBuf {
        if let Some(shared) = self.runner.as_ref().and_then(|socket| socket.parent()) {
            return shared.join(SOCKETS_NAME);
        }
        let usual = data_dir.join(SOCKETS_NAME);
        if usual.as_os_str().len() <= SOCKETS_DIR {
            return usual;
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
            turn_limit: Duration::from_secs(30 * 60),
            silence_limit: Duration::from_secs(120),
            max_api_retries: 5,
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
