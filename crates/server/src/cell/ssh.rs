//! By what the stock OpenSSH client in the cell reaches guest and host.

use std::fs;

use breakglass_control::{Endpoint, HostKeyPolicy, Target};

use crate::config::Config;

/// The client's configuration; `{cell}` stands for the directory that it is put into.
pub(crate) fn client_config(config: &Config) -> String {
    let mut text = String::new();
    for target in &config.targets {
        text.push_str(&host_blocks(target));
    }
    let strict = match config.ssh.host_keys {
        HostKeyPolicy::Pin => "yes",
        HostKeyPolicy::TrustFirst => "accept-new",
        HostKeyPolicy::AcceptAny => "no",
    };
    text.push_str(&format!(
        "Host *\n  IdentityAgent \"{{cell}}/sign/agent.sock\"\n  IdentityFile none\n  \
         UserKnownHostsFile \"{{cell}}/known_hosts\"\n  GlobalKnownHostsFile none\n  \
         StrictHostKeyChecking {strict}\n  BatchMode yes\n  ConnectTimeout 10\n  \
         ServerAliveInterval 5\n  ServerAliveCountMax 3\n  ForwardAgent no\n  ForwardX11 no\n  \
         LogLevel ERROR\n"
    ));
    text
}

/// The host keys that go with it.
pub(crate) fn known_hosts(config: &Config) -> String {
    fs::read_to_string(&config.ssh.known_hosts).unwrap_or_default()
}

fn host_blocks(target: &Target) -> String {
    let block = |alias: &str, endpoint: &Endpoint| {
        format!(
            "Host {alias}\n  HostName {}\n  Port {}\n  User {}\n",
            endpoint.host, endpoint.port, endpoint.user
        )
    };
    block(&target.name, &target.guest) + &block(&target.host_name, &target.host)
}
