//! Reads every key: its meaning, its default and its limits. Sections that occur once are in the
//! modules below; `[limits]`, `[record]` and the keys outside any section are here.

mod agent;
mod auth;
mod ssh;
mod targets;

use std::net::SocketAddr;
use std::path::PathBuf;

use breakglass_log::Retention;

use super::agent_account;
use super::agents;
use super::library;
use super::notify::notify;
use super::reader::SectionReader;
use super::types::{Config, LimitsConfig, RecordConfig};

pub use agent::own_rules;
pub(crate) use agent::{model_key, model_name};

/// Reads the whole configuration. Returns `None` only if an error was reported.
pub(crate) fn config(mut root: SectionReader<'_>) -> Option<Config> {
    let listen = address(&mut root, "listen");
    let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
    let metrics_listen = address(&mut root, "metrics_listen");
    let data_dir = root
        .path_value("data_dir")
        .map_or_else(|| PathBuf::from("/var/lib/breakglass"), |found| found.value);
    let allowed_hosts = root
        .list("allowed_hosts", HOST_REMEDY, host_name)
        .unwrap_or_default();
    let auth = root.section("auth", auth::auth);
    let ssh = root.section("ssh", |section| ssh::ssh(section, &data_dir));
    let agent = root.section("agent", agent::agent);
    let agents = agents::agents(&mut root);
    if let Some(first) = &agent {
        agents::check(first, &agents, &mut root);
    }
    let limits = root.section("limits", limits);
    let drill_days = root.integer("drill_max_age_days", 90, 0..=3650);
    let record = root.section("record", record);
    let targets = targets::targets(&mut root);
    let notify = root.section("notifications", notify);
    if let Some(user) = agent.as_ref().and_then(|agent| agent.user) {
        agent_account::refuse_readable_secrets(user, root.problems());
    }
    library::check_noted(agent.as_ref(), &data_dir, root.source(), root.problems());
    let secrets = root.problems().secrets.iter();
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

fn address(root: &mut SectionReader<'_>, key: &'static str) -> Option<SocketAddr> {
    let remedy = "write an address and a port, as in \"127.0.0.1:8080\"";
    root.parsed(key, remedy, |text| {
        text.parse()
            .map_err(|_| format!("{text:?} is not an address with a port"))
    })
}

const HOST_REMEDY: &str = "write the name alone, as in \"rescue.example.org\"; addresses and \
                           localhost always work";

/// Maximum length of a host name in DNS.
const HOST_NAME_MAX_BYTES: usize = 253;

fn host_name(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if text.len() > HOST_NAME_MAX_BYTES || !text.split('.').all(is_label) {
        return Err(format!("{text:?} is not a host name"));
    }
    Ok(text.to_ascii_lowercase())
}

fn limits(section: &mut SectionReader<'_>) -> LimitsConfig {
    let defaults = LimitsConfig::default();
    let connections = section.integer("connections", defaults.connections as u64, 8..=100_000);
    let connections = usize::try_from(connections).unwrap_or(defaults.connections);
    LimitsConfig {
        connections,
        streams_per_identity: (connections / 32).max(defaults.streams_per_identity),
        ..defaults
    }
}

/// Minimum for `record.max_bytes`: a smaller log would be nearly full after its first incident.
const LOG_LIMIT_MIN_BYTES: u64 = 64 << 20;

fn record(section: &mut SectionReader<'_>) -> RecordConfig {
    let mut count =
        |key, max: u64| u32::try_from(section.integer(key, 0, 0..=max)).unwrap_or_default();
    let keep = Retention {
        keep_days: count("keep_days", 36_500),
        keep_incidents: count("keep_incidents", 1_000_000),
    };
    let bytes = section.integer("max_bytes", RecordConfig::default().max_bytes, 0..=1 << 45);
    if (1..LOG_LIMIT_MIN_BYTES).contains(&bytes) {
        let remedy = "write 67108864 (64 MiB) or more, or 0 for no limit";
        section.error("max_bytes", "is too small for one incident", remedy);
    }
    RecordConfig {
        keep,
        max_bytes: if bytes == 0 { u64::MAX } else { bytes },
    }
}

/// A name of a target, agent or receiver: a–z, 0–9 and `-`, at most 63 bytes.
pub(crate) fn plain_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let valid = text.len() <= 63 && !text.starts_with('-') && text.bytes().all(fits);
    if !valid {
        return Err(format!("{text:?} is not a plain name"));
    }
    Ok(text.to_owned())
}
