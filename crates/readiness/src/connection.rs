//! From the network to an accepted key: three links in a row, the same for guest and host.

use breakglass_control::ssh::{Probe, SshError};
use breakglass_control::{Endpoint, HostKeyPolicy, SshOptions};

use super::LIMIT;
use super::check::Check;

/// The links, in their order.
pub(crate) const LINKS: [&str; 3] = ["reach", "host_key", "login"];

/// Connects to `endpoint`, whose checks are named after `machine`. Without a connection comes the name
/// of the link that broke.
pub(crate) async fn enter(
    machine: &str,
    endpoint: &Endpoint,
    options: &SshOptions,
) -> (Vec<Check>, Result<Probe, String>) {
    let dialled = Probe::dial(endpoint, options, LIMIT).await;
    let broken = dialled.as_ref().err().map(|error| (link_of(error), error));
    let name = |link: &str| format!("{machine}.{link}");
    let first = broken.map(|(index, _)| name(LINKS[index]));
    let mut checks = Vec::with_capacity(LINKS.len());
    for (index, link) in LINKS.into_iter().enumerate() {
        // Nothing is compared there, which is said of the setting.
        if link == "host_key" && options.host_keys == HostKeyPolicy::AcceptAny {
            continue;
        }
        checks.push(match (broken, &first) {
            (Some((at, error)), _) if at == index => Check::red(
                name(link),
                format!("{error}."),
                match error {
                    SshError::ShutOut { .. } | SshError::HeldBack { .. } => exempt(endpoint),
                    _ => remedy(index, endpoint, options),
                },
            ),
            (Some((at, _)), Some(first)) if at < index => Check::untried(name(link), first),
            _ => Check::green(name(link), evidence(index, endpoint)),
        });
    }
    (
        checks,
        dialled.map_err(|error| name(LINKS[link_of(&error)])),
    )
}

/// Which link broke.
fn link_of(error: &SshError) -> usize {
    match error {
        SshError::HostKeyUnknown { .. }
        | SshError::HostKeyChanged { .. }
        | SshError::HostKeyFile { .. } => 1,
        SshError::KeyRefused { .. } => 2,
        _ => 0,
    }
}

fn evidence(link: usize, endpoint: &Endpoint) -> String {
    match link {
        0 => format!("{endpoint} answers."),
        1 => "It shows the pinned host key.".to_owned(),
        _ => "It takes the key.".to_owned(),
    }
}

fn remedy(link: usize, endpoint: &Endpoint, options: &SshOptions) -> String {
    let Endpoint { host, port, user } = endpoint;
    let file = options.known_hosts.display();
    match link {
        0 => format!(
            "see from here whether it is up and lets this machine in: ssh -v -p {port} {user}@{host}"
        ),
        1 => format!(
            "compare the key on the machine itself, then pin it: ssh-keygen -f {file} -R \
             '[{host}]:{port}'; ssh-keyscan -p {port} {host} >> {file}"
        ),
        _ => format!(
            "put this line into {user}'s authorized_keys on {host}: {}",
            public_key(options)
        ),
    }
}

/// What keeps an sshd from shutting this machine out.
fn exempt(endpoint: &Endpoint) -> String {
    format!(
        "wait 10 min, or on {} put `PerSourcePenaltyExemptList ADDRESS` with this machine's address into \
         /etc/ssh/sshd_config and reload sshd",
        endpoint.host
    )
}

/// The public half of the key, as authorized_keys has it.
pub(crate) fn public_key(options: &SshOptions) -> String {
    let key = options.key.public_key().to_openssh();
    key.unwrap_or_else(|_| "ssh-ed25519 …".to_owned())
}
