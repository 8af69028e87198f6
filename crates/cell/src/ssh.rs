//! The configuration with which OpenSSH in the cell reaches guest and host.

use breakglass_bastion::HOST_KEY_ALIAS;
use breakglass_model::gateway::CALL_VARIABLE;

/// The variable with the directory of the incident's sockets.
pub const SOCKETS: &str = "BREAKGLASS_BASTION";

/// The configuration of the SSH client. Both machines are reached through the bastion's sockets, without an address, a key
/// or an SSH agent. Connections are not shared, because a shared connection is open to every process of the account,
/// including another incident's. `{cell}` is replaced by the cell's directory, `{program}` by this program.
pub fn client_config() -> String {
    format!(
        "# Written by breakglass at every start.\n\
         Host *\n  \
         ProxyCommand '{{program}}' connect \"${{{SOCKETS}}}/%n\"\n  ProxyUseFdpass yes\n  \
         HostKeyAlias {HOST_KEY_ALIAS}\n  UserKnownHostsFile \"{{cell}}/known_hosts\"\n  \
         GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  \
         PreferredAuthentications none\n  IdentityAgent none\n  IdentityFile none\n  \
         BatchMode yes\n  ConnectTimeout 20\n  SendEnv LANG LC_* {CALL_VARIABLE}\n  \
         ControlMaster no\n  ControlPath none\n  \
         ForwardAgent no\n  ForwardX11 no\n  UpdateHostKeys no\n  LogLevel ERROR\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_with_the_tool_call_is_sent_to_the_bastion() {
        assert!(client_config().contains(" BREAKGLASS_CALL\n"));
    }
}
