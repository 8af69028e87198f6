//! By what the stock OpenSSH client in the cell reaches guest and host.

use breakglass_bastion::HOST_KEY_ALIAS;
use breakglass_model::gateway::CALL_VARIABLE;

/// The variable that holds the directory of the incident's sockets.
pub const SOCKETS: &str = "BREAKGLASS_BASTION";

/// The client's configuration: both machines are reached through the bastion's sockets, with no
/// address, no key and no agent. Nor is a connection shared: what a client shares, it shares with every
/// process of its account, and so with another incident's. `{cell}` stands for the directory that it is put into, `{program}`
/// for this program.
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
    fn what_a_command_carries_to_say_whose_it_is_reaches_the_bastion_by_one_name() {
        assert!(client_config().contains(" BREAKGLASS_CALL\n"));
    }
}
