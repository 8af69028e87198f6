//! `[ssh]`: the key, and how host keys are verified.

use std::path::Path;

use breakglass_control::{HostKeyPolicy, SshOptions};

use crate::reader::SectionReader;
use crate::types::SshConfig;

/// Reads `[ssh]`. Returns `None` if the key could not be read, after reporting that.
pub(super) fn ssh(section: &mut SectionReader<'_>, data_dir: &Path) -> Option<SshConfig> {
    if !section.has("key_file") {
        let remedy = "name the private key that guest and gate accept";
        let problem = "is missing; no machine can be reached without it";
        section.error("key_file", problem, remedy);
    }
    let key = if section.problems().key_file_may_be_missing {
        section.file_or_empty("key_file")
    } else {
        section.file("key_file")
    };
    if let Some(found) = &key {
        let (path, text) = &found.value;
        section.note_secret(path, &found.origin, &found.key);
        if !text.trim_start().starts_with("-----BEGIN ") && path.exists() {
            let problem = format!("{} contains no private key", path.display());
            let remedy = "name the private half, made with: ssh-keygen -t ed25519";
            section
                .problems()
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
                _ => Err(format!("{text:?} is not a policy")),
            },
        )
        .unwrap_or(HostKeyPolicy::Pin);
    let known_hosts = section
        .path_value("known_hosts")
        .map_or_else(|| data_dir.join("known_hosts"), |found| found.value);
    if matches!(host_keys, HostKeyPolicy::Pin) && !known_hosts.exists() {
        let problem = format!(
            "no host key is pinned: {} does not exist",
            known_hosts.display()
        );
        section.warn(
            "known_hosts",
            problem,
            "pin them with: ssh-keyscan -t ed25519 ADDRESS >> FILE, and compare them on the machine \
             itself; until then every connection is refused",
        );
    }
    let (key_file, _) = key?.value;
    Some(SshConfig {
        key_file,
        host_keys,
        known_hosts,
        connect_timeout: SshOptions::DEFAULT_CONNECT_TIMEOUT,
        keepalive: SshOptions::DEFAULT_KEEPALIVE,
    })
}
