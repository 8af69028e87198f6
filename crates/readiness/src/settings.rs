//! Settings that work and will bite later.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use breakglass_control::{Endpoint, HostKeyPolicy};
use ipnet::IpNet;

use super::check::{Check, State};
use super::files::exposure;
use breakglass_config::Config;
use breakglass_config::local_addresses::addresses as own_addresses;

/// Shorter prefixes trust a crowd.
const NARROW_V4: u8 = 16;
const NARROW_V6: u8 = 48;

/// One check a setting.
pub(crate) fn checks(config: &Config) -> [Check; 6] {
    [
        proxies(config),
        token(config),
        host_keys(config),
        listen(config),
        secrets(config),
        addresses(config),
    ]
}

fn proxies(config: &Config) -> Check {
    const NAME: &str = "config.trusted_proxies";
    let trusted = &config.auth.trusted_proxies;
    // Without the list, what is not there can't be told; loopback is there in any case.
    let own = own_addresses().unwrap_or_default();
    for (addresses, whose, remedy) in [
        (own, "this server's own, and so the agent's", OWN_REMEDY),
        (
            config.guests(),
            "a guest's, where the agent has a shell",
            GUEST_REMEDY,
        ),
    ] {
        if let Some(evidence) = within(trusted, &addresses, whose) {
            return Check::red(NAME, evidence, remedy);
        }
    }
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

const OWN_REMEDY: &str = "narrow auth.trusted_proxies to the proxy's own address, as in \"10.42.3.7\". \
    A proxy on this machine needs an address that is not the machine's: run it in a container or a \
    network namespace of its own; or take it out of the list, and have people sign in with the API \
    token";

const GUEST_REMEDY: &str = "narrow auth.trusted_proxies to the proxy's own address, as in \"10.42.3.7\"; \
    a proxy on the guest is down when it is needed, so run it elsewhere";

/// The first network that holds one of `addresses`, as evidence.
fn within(networks: &[IpNet], addresses: &[IpAddr], whose: &str) -> Option<String> {
    networks.iter().find_map(|network| {
        let held = addresses.iter().map(IpAddr::to_canonical);
        let held = held.chain([network.addr()].into_iter().filter(IpAddr::is_loopback));
        let address = held.into_iter().find(|address| network.contains(address))?;
        Some(format!(
            "{network} holds {address}, which is {whose}: no user header counts from there."
        ))
    })
}

/// What is too short or a placeholder does not even load.
fn token(config: &Config) -> Check {
    const NAME: &str = "config.token";
    match &config.auth.token {
        None => Check::green(NAME, "There is no API token; a proxy signs people in."),
        Some(token) if token.is_made_up() => Check::amber(
            NAME,
            "The API token repeats itself or counts up, as one that was made up: it may be guessed.",
            "make another one for auth.token_file: openssl rand -hex 32",
        ),
        Some(_) => Check::green(NAME, "The API token is long, and looks random."),
    }
}

fn host_keys(config: &Config) -> Check {
    const NAME: &str = "config.host_keys";
    let file = config.ssh.known_hosts.display();
    let mode = fs::metadata(&config.ssh.known_hosts).map_or(0, |meta| meta.mode());
    match config.ssh.host_keys {
        HostKeyPolicy::AcceptAny => Check::amber(
            NAME,
            "Any host key is taken: whoever stands in between is let in.",
            format!("set ssh.host_keys = \"pin\", with the machines' keys in {file}"),
        ),
        _ if mode & 0o022 != 0 => Check::red(
            NAME,
            format!("{file} can be written by others, who then choose which machine is believed."),
            format!("chmod go-w {file}"),
        ),
        HostKeyPolicy::Pin => Check::green(NAME, format!("Only keys in {file} are taken.")),
        HostKeyPolicy::TrustFirst => Check::green(
            NAME,
            format!("First keys are pinned in {file}, then kept to."),
        ),
    }
}

fn listen(config: &Config) -> Check {
    const NAME: &str = "config.listen";
    let (listen, auth) = (config.listen, &config.auth);
    // Either says that something before it speaks TLS.
    let edge = auth.secure_cookie || !auth.trusted_proxies.is_empty();
    if listen.ip().is_loopback() || edge {
        return Check::green(NAME, format!("It listens on {listen}."));
    }
    Check::amber(
        NAME,
        format!(
            "{listen} is open to a network, where everything passes unencrypted, the token too."
        ),
        "set listen to an address of loopback; or let an edge speak TLS before it, and say so: \
         auth.trusted_proxies where it signs people in, else auth.secure_cookie = true",
    )
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
