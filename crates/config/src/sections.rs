//! What each key means, its default, and what it must be.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderName;
use breakglass_bastion::{Rules, RulesError};
use breakglass_control::{Endpoint, HostKeyPolicy, SshOptions, Target};
use breakglass_log::Retention;
use breakglass_model::Autonomy;
use ipnet::IpNet;
use secrecy::SecretString;

use super::agent_user;
use super::agents;
use super::library;
use super::notify::notify;
use super::presets;
use super::section::Section;
use super::types::{
    AgentConfig, AuthConfig, Config, LimitsConfig, ModelKey, RecordConfig, SOCKETS_DIR,
    SOCKETS_NAME, SandboxMode, SshConfig,
};
use crate::identity::check_identity;
use crate::token::ApiToken;

/// The whole configuration; `None` only where an error was reported.
pub(crate) fn config(mut root: Section<'_>) -> Option<Config> {
    let listen = address(&mut root, "listen");
    let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
    let metrics_listen = address(&mut root, "metrics_listen");
    let data_dir = root
        .path_value("data_dir")
        .map_or_else(|| PathBuf::from("/var/lib/breakglass"), |found| found.value);
    let allowed_hosts = root
        .list("allowed_hosts", HOST_REMEDY, host_name)
        .unwrap_or_default();
    let auth = root.section("auth", auth);
    let ssh = root.section("ssh", |section| ssh(section, &data_dir));
    let agent = root.section("agent", agent);
    let agents = agents::agents(&mut root);
    if let Some(first) = &agent {
        agents::check(first, &agents, &mut root);
    }
    let limits = root.section("limits", limits);
    let drill_days = root.integer("drill_max_age_days", 90, 0..=3650);
    let record = root.section("record", record);
    let targets = targets(&mut root);
    let notify = notify(&mut root);
    if let Some(user) = agent.as_ref().and_then(|agent| agent.user) {
        agent_user::keep_out(user, root.report());
    }
    library::keep_apart(agent.as_ref(), &data_dir, root.source(), root.report());
    let secrets = root.report().secrets.iter();
    let secrets: Vec<PathBuf> = secrets.map(|(_, _, path)| path.clone()).collect();
    root.finish();
    Some(Config {
        listen,
        metrics_listen,
        data_dir,
        allowed_hosts,
        auth: auth?,
        ssh: ssh?,
        agent: agent?,
        agents,
        limits,
        record,
        targets: targets?,
        drill_max_age_days: u16::try_from(drill_days).unwrap_or(u16::MAX),
        notify,
        private: secrets.clone(),
        secrets,
    })
}

fn address(root: &mut Section<'_>, key: &'static str) -> Option<SocketAddr> {
    let remedy = "write an address and a port, as in \"127.0.0.1:8080\"";
    root.parsed(key, remedy, |text| {
        let none = |_| format!("{text:?} is no address with a port");
        text.parse().map_err(none)
    })
}

const HOST_REMEDY: &str = "write the bare name, as in \"rescue.example.org\"; addresses and \
                           localhost work without being listed";

fn host_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let fits = text.len() <= 253 && text.split('.').all(label);
    fits.then(|| text.to_ascii_lowercase())
        .ok_or_else(|| format!("{text:?} is no host name"))
}

fn auth(section: &mut Section<'_>) -> Option<AuthConfig> {
    let trusted_proxies = section
        .list(
            "trusted_proxies",
            "write addresses as in \"10.42.3.7\", or networks as in \"10.42.3.0/28\"",
            network,
        )
        .unwrap_or_default();
    for here in trusted_proxies
        .iter()
        .filter(|it: &&IpNet| it.addr().is_loopback())
    {
        let problem =
            format!("{here} is this machine, the agent too: no user header counts from there");
        section.warn("trusted_proxies", problem, HERE_REMEDY);
    }
    let remedy = "write a header's name, as in \"x-authentik-username\"";
    let user_header = section
        .parsed("user_header", remedy, |text| {
            HeaderName::try_from(text.to_ascii_lowercase())
                .map_err(|_| format!("{text:?} is no header name"))
        })
        .unwrap_or(HeaderName::from_static("x-authentik-username"));
    let remedy = "make one with: openssl rand -hex 32";
    let token_was_named = section.has("token_file");
    let token = section.file("token_file").and_then(|found| {
        let (path, text) = &found.value;
        section.note_secret(path, &found.origin, &found.key);
        ApiToken::new(text.trim_end_matches(['\r', '\n']))
            .map_err(|weak| {
                let problem = format!("{}: {weak}", path.display());
                section
                    .report()
                    .error(&found.origin, &found.key, problem, remedy);
            })
            .ok()
    });
    let token_identity = section
        .parsed(
            "token_identity",
            "write a name of up to 128 printable characters",
            |text| {
                check_identity(text)
                    .map(|()| text.to_owned())
                    .map_err(str::to_owned)
            },
        )
        .unwrap_or_else(|| "operator".to_owned());
    let secure_cookie = section.boolean("secure_cookie", false);
    if trusted_proxies.is_empty() && token.is_none() && !token_was_named {
        let remedy = "set token_file (openssl rand -hex 32 > FILE), or trusted_proxies where an \
                      edge signs people in";
        section.error(
            "token_file",
            "nobody could sign in: no way is configured",
            remedy,
        );
        return None;
    }
    Some(AuthConfig {
        trusted_proxies,
        user_header,
        token,
        token_identity,
        secure_cookie,
    })
}

const HERE_REMEDY: &str = "give the proxy an address of its own (a container, a network namespace), or take it \
                           out and sign in with the API token";

fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) if network.prefix_len() == 0 => {
            Err(format!("{text:?} would trust the user header of everyone"))
        }
        Ok(network) => Ok(network.trunc()),
        Err(_) => Err(format!("{text:?} is no network")),
    }
}

fn ssh(section: &mut Section<'_>, data_dir: &Path) -> Option<SshConfig> {
    let key_was_named = section.has("key_file");
    let key = match section.report().before_the_key {
        true => section.file_if_there("key_file"),
        false => section.file("key_file"),
    };
    if !key_was_named {
        let remedy = "name the private key that guest and gate accept";
        section.error(
            "key_file",
            "is missing, and nothing can be reached without it",
            remedy,
        );
    }
    if let Some(found) = &key {
        let (path, text) = &found.value;
        section.note_secret(path, &found.origin, &found.key);
        if !text.trim_start().starts_with("-----BEGIN ") && path.exists() {
            let problem = format!("{} holds no private key", path.display());
            let remedy = "name the private half, made with: ssh-keygen -t ed25519";
            section
                .report()
                .error(&found.origin, &found.key, problem, remedy);
        }
    }
    let host_keys = section
        .parsed(
            "host_keys",
            "write pin, trust-first or accept-any",
            |text| match text {
                "pin" => Ok(HostKeyPolicy::Pin),
                "trust-first" => Ok(HostKeyPolicy::TrustFirst),
                "accept-any" => Ok(HostKeyPolicy::AcceptAny),
                _ => Err(format!("{text:?} is no policy")),
            },
        )
        .unwrap_or(HostKeyPolicy::Pin);
    let known_hosts = section
        .path_value("known_hosts")
        .map_or_else(|| data_dir.join("known_hosts"), |found| found.value);
    let connect_timeout = Duration::from_secs(section.integer(
        "connect_timeout_s",
        SshOptions::DEFAULT_CONNECT_TIMEOUT.as_secs(),
        1..=60,
    ));
    let keepalive = Duration::from_secs(section.integer(
        "keepalive_s",
        SshOptions::DEFAULT_KEEPALIVE.as_secs(),
        1..=300,
    ));
    if matches!(host_keys, HostKeyPolicy::Pin) && !known_hosts.exists() {
        let problem = format!(
            "no host key is pinned: {} does not exist",
            known_hosts.display()
        );
        section.warn(
            "known_hosts",
            problem,
            "pin them with: ssh-keyscan -t ed25519 ADDRESS >> FILE, compared out of band; until \
             then every connection is refused",
        );
    }
    let (key_file, _) = key?.value;
    Some(SshConfig {
        key_file,
        host_keys,
        known_hosts,
        connect_timeout,
        keepalive,
    })
}

/// The key of a model's API, from `api_key_file`.
pub(crate) fn model_key(section: &mut Section<'_>) -> Option<ModelKey> {
    let found = section.file("api_key_file")?;
    let (path, text) = &found.value;
    section.note_secret(path, &found.origin, &found.key);
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = format!("{} holds no key", path.display());
        let remedy = "put the API key, and nothing else, into the file";
        section
            .report()
            .error(&found.origin, &found.key, problem, remedy);
    }
    (!key.is_empty()).then(|| ModelKey {
        secret: SecretString::from(key),
        file: Some(path.clone()),
    })
}

fn agent(section: &mut Section<'_>) -> Option<AgentConfig> {
    let defaults = AgentConfig::default();
    let given = RUNNERS_OWN.map(|key| section.has(key).then_some(key));
    let enabled = section.boolean("enabled", true);
    let command = section
        .path_value("command")
        .map_or(defaults.command, |found| found.value);
    let args = section
        .list(
            "args",
            "write each argument as a string of its own",
            |text| Ok(text.to_owned()),
        )
        .unwrap_or_default();
    let remedy = "write a model's name, as in \"sonnet\"";
    let chosen = section.parsed("model", remedy, model_name);
    let listed = section.list("models", remedy, model_name);
    let autonomy = section
        .parsed(
            "autonomy",
            "write \"autonomous\", \"approve-mutations\" or \"read-only\"",
            autonomy,
        )
        .unwrap_or(defaults.autonomy);
    let turn_limit = Duration::from_secs(section.integer("turn_limit_s", 1800, 10..=86_400));
    let silence_limit = Duration::from_secs(section.integer("silence_limit_s", 120, 5..=3600));
    let max_api_retries =
        u32::try_from(section.integer("max_api_retries", 5, 0..=20)).unwrap_or(u32::MAX);
    let api_key = model_key(section);
    let base_url = section.parsed("base_url", "write it as \"https://host/path\"", |text| {
        let is_url = text.starts_with("https://") || text.starts_with("http://");
        is_url
            .then(|| text.to_owned())
            .ok_or_else(|| format!("{text:?} is no http address"))
    });
    let credentials_dir = section.directory("credentials_dir");
    let user = agent_user::user(section);
    let library = library::library(section);
    let sandbox = section
        .parsed(
            "sandbox",
            "write \"auto\", \"required\" or \"none\"",
            sandbox,
        )
        .unwrap_or_default();
    let egress = section
        .list("egress", "write each as \"host:port\"", str::parse)
        .unwrap_or_default();
    let fallback = section.parsed("fallback", "name one of [[agents]]", plain_name);
    let runner = runner(section, &given);
    let runner_uid = section
        .optional_integer("runner_uid", 0..=u64::from(u32::MAX - 1))
        .and_then(|uid| u32::try_from(uid).ok());
    let hours = section.integer("model_check_hours", 24, 0..=8760);
    let model_check = (hours > 0).then(|| Duration::from_secs(hours * 3600));
    let rules = section.file("rules_file").map(|found| {
        let (path, text) = &found.value;
        if let Err(faults) = own_rules(path, text) {
            let remedy = "mend the rule; docs/rules.md has the format";
            let report = section.report();
            report.error(&found.origin, &found.key, faults.to_string(), remedy);
        }
        found.value
    });
    let presets = presets::presets(section).unwrap_or(defaults.presets);
    let mut models = listed.unwrap_or(defaults.models);
    let model = chosen
        .or_else(|| models.first().cloned())
        .unwrap_or(defaults.model);
    if !models.contains(&model) {
        models.insert(0, model.clone());
    }
    Some(AgentConfig {
        enabled,
        command,
        args,
        model,
        models,
        autonomy,
        turn_limit,
        silence_limit,
        max_api_retries,
        api_key,
        base_url,
        credentials_dir,
        user,
        library,
        sandbox,
        egress,
        fallback,
        runner,
        runner_uid,
        model_check,
        rules,
        presets,
    })
}

/// Keys that mean something where the CLI is started, which is elsewhere with a runner.
const RUNNERS_OWN: [&str; 9] = [
    "command",
    "args",
    "api_key_file",
    "base_url",
    "credentials_dir",
    "egress",
    "sandbox",
    "user",
    "library",
];

/// The runner's socket; `given` are the keys of [`RUNNERS_OWN`] that are there.
fn runner(section: &mut Section<'_>, given: &[Option<&str>]) -> Option<PathBuf> {
    let socket = section.parsed("runner", RUNNER_REMEDY, |text| {
        let path = PathBuf::from(text);
        let shared = path.parent().map_or(0, |dir| dir.as_os_str().len());
        let short = shared + 1 + SOCKETS_NAME.len() <= SOCKETS_DIR && text.len() <= 107;
        let fits = path.is_absolute() && path.file_name().is_some();
        (fits && short)
            .then_some(path)
            .ok_or_else(|| format!("{text:?} is no absolute path that is short enough"))
    })?;
    for key in given.iter().flatten() {
        let remedy = "leave it out here, and give it to `breakglass runner`";
        section.error(key, "belongs to the runner", remedy);
    }
    Some(socket)
}

const RUNNER_REMEDY: &str = "write the socket's path, as in \"/run/breakglass/runner.sock\", in a \
                             directory whose path has 32 bytes at the most";

/// The built-in rules with the operator's own.
pub fn own_rules(path: &Path, text: &str) -> Result<Rules, RulesError> {
    Rules::built_in()?.and(text, &path.display().to_string())
}

pub(crate) fn model_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@[]".contains(&byte);
    let valid = text.len() <= 128 && !text.starts_with('-') && text.bytes().all(fits);
    (valid && !text.is_empty())
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no model name"))
}

fn sandbox(text: &str) -> Result<SandboxMode, String> {
    match text {
        "auto" => Ok(SandboxMode::Auto),
        "required" => Ok(SandboxMode::Required),
        "none" => Ok(SandboxMode::None),
        _ => Err(format!("{text:?} is no kind of sandbox")),
    }
}

fn autonomy(text: &str) -> Result<Autonomy, String> {
    Autonomy::parse(text).ok_or_else(|| format!("{text:?} is no autonomy"))
}

fn limits(section: &mut Section<'_>) -> LimitsConfig {
    let defaults = LimitsConfig::default();
    let mut count = |key, default: usize, range| {
        usize::try_from(section.integer(key, default as u64, range)).unwrap_or(default)
    };
    LimitsConfig {
        streams_per_identity: count(
            "streams_per_identity",
            defaults.streams_per_identity,
            1..=100_000,
        ),
        connections: count("connections", defaults.connections, 8..=100_000),
        body_bytes: count("body_bytes", defaults.body_bytes, 32 * 1024..=1024 * 1024),
    }
}

/// Smaller, and the record is nearly full from its first incident on.
const LEAST_RECORD: u64 = 64 << 20;

fn record(section: &mut Section<'_>) -> RecordConfig {
    let mut count =
        |key, most: u64| u32::try_from(section.integer(key, 0, 0..=most)).unwrap_or_default();
    let keep = Retention {
        keep_days: count("keep_days", 36_500),
        keep_incidents: count("keep_incidents", 1_000_000),
    };
    let bytes = section.integer("max_bytes", RecordConfig::default().max_bytes, 0..=1 << 45);
    if (1..LEAST_RECORD).contains(&bytes) {
        let remedy = "write 67108864 (64 MiB) or more, or 0 for no bound";
        section.error("max_bytes", "is too small for one incident", remedy);
    }
    RecordConfig {
        keep,
        max_bytes: if bytes == 0 { u64::MAX } else { bytes },
    }
}

fn targets(root: &mut Section<'_>) -> Option<Vec<Target>> {
    let before = root.report().errors.len();
    let was_named = root.has("targets");
    let mut taken = Taken::default();
    let targets = root.sections("targets", |section| target(section, &mut taken));
    if targets.is_empty() && root.report().errors.len() == before {
        let problem = if was_named { "is empty" } else { "is missing" };
        root.error(
            "targets",
            problem,
            "describe one machine in a [[targets]] section",
        );
    }
    targets.into_iter().collect()
}

/// What belongs to a target that was read before.
#[derive(Default)]
struct Taken {
    /// Guests and hosts: the agent reaches each by its name.
    names: HashSet<String>,
    /// The server's one key opens one gate on each, and a gate knows one guest.
    hosts: HashSet<Endpoint>,
}

fn target(section: &mut Section<'_>, taken: &mut Taken) -> Option<Target> {
    if !section.has("name") {
        section.error("name", "is missing", "name the target, as in \"devvm\"");
    }
    let name = section.parsed(
        "name",
        "use a–z, 0–9 and -, and each name once",
        |text| {
            let name = plain_name(text)?;
            let fresh = taken.names.insert(name.clone());
            fresh
                .then_some(name)
                .ok_or_else(|| format!("{text:?} is there twice"))
        },
    );
    let guest = endpoint(section, "guest");
    let host = endpoint(section, "host");
    let host_name = section.parsed("host_name", "use a–z, 0–9 and -", plain_name);
    let mut target = Target::new(name?, guest?, host?);
    if let Some(host_name) = host_name {
        target.host_name = host_name;
    }
    if !taken.names.insert(target.host_name.clone()) {
        let problem = format!("{:?} is another machine's name already", target.host_name);
        let remedy = "give each host a name of its own, so that no verb reaches another's machine";
        section.error("host_name", problem, remedy);
    }
    if !taken.hosts.insert(target.host.clone()) {
        let problem = "is another target's host as well, and one key reaches one guest there";
        let remedy = "serve the second guest by a server with a key of its own";
        section.error("host", problem, remedy);
    }
    Some(target)
}

pub(crate) fn plain_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let valid = text.len() <= 63 && !text.starts_with('-') && text.bytes().all(fits);
    valid
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is no plain name"))
}

fn endpoint(section: &mut Section<'_>, key: &'static str) -> Option<Endpoint> {
    if !section.has(key) {
        let remedy = "write it as { host = \"ADDRESS\", user = \"NAME\" }";
        section.error(key, "is missing", remedy);
        return None;
    }
    section.section(key, |section| {
        for key in ["host", "user"] {
            if !section.has(key) {
                section.error(key, "is missing", "write address and user of the machine");
            }
        }
        let host = section.parsed("host", "write an address", |text| {
            match text.parse::<IpAddr>() {
                Ok(address) => Ok(address.to_string()),
                Err(_) => host_name(text),
            }
        });
        if host
            .as_ref()
            .is_some_and(|host| host.parse::<IpAddr>().is_err())
        {
            let problem = "is a name, and name resolution is often what an incident breaks";
            section.warn("host", problem, "write the address instead");
        }
        let port = u16::try_from(section.integer("port", 22, 1..=65_535)).unwrap_or(22);
        let user = section.parsed("user", "write a login name", |text| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let valid = text.len() <= 64 && !text.starts_with('-') && text.bytes().all(fits);
            valid
                .then(|| text.to_owned())
                .ok_or_else(|| format!("{text:?} is no login name"))
        });
        Some(Endpoint {
            host: host?,
            port,
            user: user?,
        })
    })
}
