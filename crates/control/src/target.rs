//! A target: one guest and the host that it runs on.

use std::fmt;

use breakglass_model::Side;

/// The address of an SSH server, and the account to log in as.
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

/// A guest, and the host that it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, such as `devvm`; also what the agent calls the guest.
    pub name: String,
    /// What the agent calls the host, such as `pve`.
    pub host_name: String,
    /// The guest.
    pub guest: Endpoint,
    /// The hypervisor. The key reaches only the gate there.
    pub host: Endpoint,
    /// Whether this is a simulated machine: its incidents are marked as drills.
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

    /// The address of the guest or the host.
    #[must_use]
    pub fn endpoint(&self, side: Side) -> &Endpoint {
        match side {
            Side::Guest => &self.guest,
            Side::Host => &self.host,
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
