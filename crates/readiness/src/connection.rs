//! The checks from the network to an accepted key: three steps in a row, the same for guest and host.

use breakglass_control::ssh::{Probe, SshError};
use breakglass_control::{Endpoint, HostKeyPolicy, SshOptions};

use super::CHECK_TIMEOUT;
use super::check::Check;

/// Names of the checks, in order.
pub(crate) const STEPS: [&str; 3] = ["reach", "host_key", "login"];

/// Logs in to `endpoint`. `machine` is the prefix of the checks' names. Without a connection, the second value is the
/// name of the failed check.
pub(crate) async fn log_in(
    machine: &str,
    endpoint: &Endpoint,
    options: &SshOptions,
) -> (Vec<Check>, Result<Probe, String>) {
    let dialled = Probe::dial(endpoint, options, CHECK_TIMEOUT).await;
    let failure = dialled
        .as_ref()
        .err()
        .map(|error| (failed_step(error), error));
    let name = |step: &str| format!("{machine}.{step}");
    let first = failure.map(|(index, _)| name(STEPS[index]));
    let mut checks = Vec::with_capacity(STEPS.len());
    for (index, step) in STEPS.into_iter().enumerate() {
        // No key is compared then; the check of the setting reports that.
        if step == "host_key" && options.host_keys == HostKeyPolicy::AcceptAny {
            continue;
        }
        checks.push(match (failure, &first) {
            (Some((at, error)), _) if at == index => Check::red(
                name(step),
                format!("{error}."),
                match error {
                    SshError::ShutOut { .. } | SshError::HeldBack { .. } => exempt(endpoint),
                    _ => remedy(index, endpoint, options),
                },
            ),
            (Some((at, _)), Some(first)) if at < index => Check::untried(name(step), first),
            _ => Check::green(name(step), evidence(index, endpoint)),
        });
    }
    (
        checks,
        dialled.map_err(|error| name(STEPS[failed_step(&error)])),
    )
}

/// The index of the step at which the connection failed.
fn failed_step(error: &SshError) -> usize {
    match error {
        SshError::HostKeyUnknown { .. }
        | SshError::HostKeyChanged { .. }
        | SshError::HostKeyFile { .. } => 1,
        SshError::KeyRefused { .. } => 2,
        _ => 0,
    }
}

fn evidence(step: usize, endpoint: &Endpoint) -> String {
    match step {
        0 => format!("{endpoint} answers."),
        1 => "It presents the pinned host key.".to_owned(),
        _ => "It accepts the key.".to_owned(),
    }
}

fn remedy(step: usize, endpoint: &Endpoint, options: &SshOptions) -> String {
    let Endpoint { host, port, user } = endpoint;
    let file = options.known_hosts.display();
    match step {
        0 => format!(
            "check from here whether it runs and accepts connections: ssh -v -p {port} {user}@{host}"
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

/// The remedy if sshd refuses this machine because of earlier failures.
fn exempt(endpoint: &Endpoint) -> String {
    format!(
        "wait 10 min, or on {} add `PerSourcePenaltyExemptList ADDRESS` with this machine's address to \
         /etc/ssh/sshd_config and reload sshd",
        endpoint.host
    )
}

/// The public key in the format of authorized_keys.
pub(crate) fn public_key(options: &SshOptions) -> String {
    let key = options.key.public_key().to_openssh();
    key.unwrap_or_else(|_| "ssh-ed25519 …".to_owned())
}
