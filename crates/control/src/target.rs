use std::fmt;

use breakglass_model::Side;

/// Where an SSH server is and as whom it is entered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// An address rather than a name: in an incident there may be no DNS.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The account.
    pub user: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

/// One machine to be saved: a guest, and the host that it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, such as `devvm`; also what the agent calls the guest.
    pub name: String,
    /// What the agent calls the host, such as `pve`.
    pub host_name: String,
    /// The machine itself.
    pub guest: Endpoint,
    /// The hypervisor, where the key reaches the gate and nothing else.
    pub host: Endpoint,
    /// Whether this is a simulated machine: its incidents are rehearsals and say so.
    pub drill: bool,
}

impl Target {
    /// A real machine on a host that the agent calls `pve`.
    #[must_use]
    pub fn new(name: impl Into<String>, guest: Endpoint, host: Endpoint) -> Target {
        Target {
            name: name.into(),
            host_name: "pve".to_owned(),
            guest,
            host,
            drill: false,
        }
    }

    /// The name of the guest or the host.
    #[must_use]
    pub fn name_of(&self, side: Side) -> &str {
        match side {
            Side::Guest => &self.name,
            Side::Host => &self.host_name,
        }
    }
}
