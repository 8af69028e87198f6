//! The options of the SSH client, from the configuration.

use std::sync::Arc;

use breakglass_control::SshOptions;
use breakglass_control::ssh::{DialMetrics, PrivateKey};

use crate::Config;

/// Options for connections to guests and hosts with the private key `key`.
#[must_use]
pub fn ssh_options(config: &Config, key: Arc<PrivateKey>) -> SshOptions {
    SshOptions {
        key,
        host_keys: config.ssh.host_keys,
        known_hosts: config.ssh.known_hosts.clone(),
        connect_timeout: config.ssh.connect_timeout,
        keepalive: config.ssh.keepalive,
        metrics: DialMetrics::new(&config.targets),
    }
}
