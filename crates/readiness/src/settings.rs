//! Checks of the configuration: settings that work now, but are unsafe or will cause trouble later.

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

/// Minimum prefix length of a trusted IPv4 network; shorter ones contain too many machines.
const PREFIX_MIN_BITS_V4: u8 = 16;
/// Minimum prefix length of a trusted IPv6 network.
const PREFIX_MIN_BITS_V6: u8 = 48;

/// All checks of settings.
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
    // If the addresses cannot be listed, only loopback is compared.
    let own = own_addresses().unwrap_or_default();
    for (addresses, whose, remedy) in [
        (own, "this server's own and so the agent's", OWN_REMEDY),
        (
            config.guests(),
            "a guest's, where the agent has a shell",
            GUEST_REMEDY,
        ),
    ] {
        if let Some(evidence) = trusted_address(trusted, &addresses, whose) {
            return Check::red(NAME, evidence, remedy);
        }
    }
    let wide = |net: &&IpNet| match net {
        IpNet::V4(net) => net.prefix_len() < PREFIX_MIN_BITS_V4,
        IpNet::V6(net) => net.prefix_len() < PREFIX_MIN_BITS_V6,
    };
    match listed(trusted.iter().filter(wide)) {
        None => Check::green(
            NAME,
            "Only small networks are trusted to name the operator.",
        ),
        Some(wide) => Check::amber(
            NAME,
            format!("Anyone in {wide} can claim the identity of any operator."),
            "narrow auth.trusted_proxies to the proxy's own address, as in \"10.42.3.7\"",
        ),
    }
}

const OWN_REMEDY: &str = "narrow auth.trusted_proxies to the proxy's own address, as in \"10.42.3.7\". \
    A proxy on this machine needs an address of its own: run it in a container or a network \
    namespace; or remove it from the list, and let people sign in with the API token";

const GUEST_REMEDY: &str = "narrow auth.trusted_proxies to the proxy's own address, as in \"10.42.3.7\"; \
    a proxy on the guest is down when it is needed, so run it elsewhere";

/// The first network that contains one of `addresses`, as evidence.
fn trusted_address(networks: &[IpNet], addresses: &[IpAddr], whose: &str) -> Option<String> {
    networks.iter().find_map(|network| {
        let candidates = addresses.iter().map(IpAddr::to_canonical);
        let candidates = candidates.chain([network.addr()].into_iter().filter(IpAddr::is_loopback));
        let address = candidates
            .into_iter()
            .find(|address| network.contains(address))?;
        Some(format!(
            "{network} contains {address}, which is {whose}: user headers from there are ignored."
        ))
    })
}

/// The API token. A short one or a placeholder is already an error of the configuration.
fn token(config: &Config) -> Check {
    const NAME: &str = "config.token";
    match &config.auth.token {
        None => Check::green(NAME, "There is no API token; a proxy signs people in."),
        Some(token) if token.looks_made_up() => Check::amber(
            NAME,
            "The API token repeats itself or counts up, so it is not random and may be guessed.",
            "make a new one for auth.token_file: openssl rand -hex 32",
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
            "Any host key is accepted, so nothing protects against a man in the middle.",
            format!("set ssh.host_keys = \"pin\", with the host keys of the machines in {file}"),
        ),
        _ if mode & 0o022 != 0 => Check::red(
            NAME,
            format!("Others can write {file}, and so choose which host keys are trusted."),
            format!("chmod go-w {file}"),
        ),
        HostKeyPolicy::Pin => Check::green(NAME, format!("Only host keys in {file} are accepted.")),
        HostKeyPolicy::TrustFirst => Check::green(
            NAME,
            format!(
                "The first host key of a machine is pinned in {file}; later only that one is accepted."
            ),
        ),
    }
}

fn listen(config: &Config) -> Check {
    const NAME: &str = "config.listen";
    let (listen, auth) = (config.listen, &config.auth);
    // Both settings mean that a proxy in front speaks TLS.
    let has_tls_proxy = auth.secure_cookie || !auth.trusted_proxies.is_empty();
    if listen.ip().is_loopback() || has_tls_proxy {
        return Check::green(NAME, format!("The server listens on {listen}."));
    }
    Check::amber(
        NAME,
        format!(
            "{listen} is reachable from a network, on which everything is sent unencrypted, including the token."
        ),
        "set listen to a loopback address; or put a proxy with TLS in front, and set \
         auth.trusted_proxies if it signs people in, otherwise auth.secure_cookie = true",
    )
}

/// The files of the other secrets; the SSH key has its own check.
fn secrets(config: &Config) -> Check {
    const NAME: &str = "config.secrets";
    let files = config.secrets.iter();
    let open: Vec<(&PathBuf, (State, String))> = files
        .filter(|path| **path != config.ssh.key_file)
        .filter_map(|path| Some((path, exposure(path)?)))
        .collect();
    let Some(state) = open.iter().map(|(_, (state, _))| *state).max() else {
        return Check::green(
            NAME,
            "Only their owner can read the files of the other secrets.",
        );
    };
    let evidence: Vec<_> = open.iter().map(|(_, (_, text))| text.as_str()).collect();
    let paths: Vec<_> = open
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    let remedy = format!("chmod 600 {}", paths.join(" "));
    Check {
        state,
        ..Check::red(NAME, format!("{}.", evidence.join("; ")), remedy)
    }
}

fn addresses(config: &Config) -> Check {
    const NAME: &str = "config.addresses";
    let machines = config.targets.iter().flat_map(|t| [&t.guest, &t.host]);
    let is_name = |machine: &&Endpoint| machine.host.parse::<IpAddr>().is_err();
    match listed(machines.filter(is_name).map(|machine| &machine.host)) {
        None => Check::green(NAME, "Guests and hosts are configured by address."),
        Some(names) => Check::amber(
            NAME,
            format!("{names} must be resolved, and name resolution often fails in an incident."),
            "write addresses instead of names in the target's guest and host",
        ),
    }
}

/// The items separated by commas; `None` without items.
fn listed<T: ToString>(items: impl Iterator<Item = T>) -> Option<String> {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    (!items.is_empty()).then(|| items.join(", "))
}
