//! Settings that work and will bite later.

use std::net::IpAddr;
use std::path::PathBuf;

use breakglass_control::{Endpoint, HostKeyPolicy};
use ipnet::IpNet;

use super::check::{Check, State};
use super::files::exposure;
use crate::config::Config;

/// Shorter prefixes trust a crowd.
const NARROW_V4: u8 = 16;
const NARROW_V6: u8 = 48;

/// One check a setting.
pub(super) fn checks(config: &Config) -> [Check; 5] {
    [
        proxies(&config.auth.trusted_proxies),
        host_keys(config),
        listen(config),
        secrets(config),
        addresses(config),
    ]
}

fn proxies(trusted: &[IpNet]) -> Check {
    const NAME: &str = "config.trusted_proxies";
    let wide = |net: &&IpNet| match net {
        IpNet::V4(net) => net.prefix_len() < NARROW_V4,
        IpNet::V6(net) => net.prefix_len() < NARROW_V6,
    };
    match listed(trusted.iter().filter(wide)) {
        None => Check::green(
            NAME,
            "No network of a crowd is trusted to name the operator.",
        ),
        Some(wide) => Check::amber(
            NAME,
            format!("Whoever is in {wide} can name himself any operator."),
            "narrow auth.trusted_proxies to the proxy's own address, as in \"10.42.3.7\"",
        ),
    }
}

fn host_keys(config: &Config) -> Check {
    const NAME: &str = "config.host_keys";
    let file = config.ssh.known_hosts.display();
    match config.ssh.host_keys {
        HostKeyPolicy::Pin => Check::green(NAME, format!("Only keys in {file} are taken.")),
        HostKeyPolicy::TrustFirst => Check::green(
            NAME,
            format!("First keys are pinned in {file}, then kept to."),
        ),
        HostKeyPolicy::AcceptAny => Check::amber(
            NAME,
            "Any host key is taken: whoever stands in between is let in.",
            format!("set ssh.host_keys = \"pin\", with the machines' keys in {file}"),
        ),
    }
}

fn listen(config: &Config) -> Check {
    const NAME: &str = "config.listen";
    let listen = config.listen;
    if listen.ip().is_unspecified() && config.auth.trusted_proxies.is_empty() {
        return Check::amber(
            NAME,
            format!("{listen} is every network of this machine, and no proxy signs people in."),
            "set listen to the one address that is meant, or put a proxy that signs people in before \
             it (auth.trusted_proxies)",
        );
    }
    Check::green(NAME, format!("It listens on {listen}."))
}

/// The files of token and API key; the SSH key has a check of its own.
fn secrets(config: &Config) -> Check {
    const NAME: &str = "config.secrets";
    let others = config.secrets.iter();
    let open: Vec<(&PathBuf, (State, String))> = others
        .filter(|path| **path != config.ssh.key_file)
        .filter_map(|path| Some((path, exposure(path)?)))
        .collect();
    let Some(state) = open.iter().map(|(_, (state, _))| *state).max() else {
        return Check::green(
            NAME,
            "Their owner alone can read the files of the other secrets.",
        );
    };
    let seen: Vec<_> = open.iter().map(|(_, (_, seen))| seen.as_str()).collect();
    let paths: Vec<_> = open
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    let remedy = format!("chmod 600 {}", paths.join(" "));
    Check {
        state,
        ..Check::red(NAME, format!("{}.", seen.join("; ")), remedy)
    }
}

fn addresses(config: &Config) -> Check {
    const NAME: &str = "config.addresses";
    let machines = config.targets.iter().flat_map(|t| [&t.guest, &t.host]);
    let is_name = |machine: &&Endpoint| machine.host.parse::<IpAddr>().is_err();
    match listed(machines.filter(is_name).map(|machine| &machine.host)) {
        None => Check::green(NAME, "Guests and hosts are given by address."),
        Some(names) => Check::amber(
            NAME,
            format!(
                "{names}: to be looked up, and name resolution is often what an incident breaks."
            ),
            "write the address in place of the name, in the target's guest and host",
        ),
    }
}

/// Separated by commas; none if there is nothing.
fn listed<T: ToString>(items: impl Iterator<Item = T>) -> Option<String> {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    (!items.is_empty()).then(|| items.join(", "))
}
