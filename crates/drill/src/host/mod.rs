//! The simulated target: a machine, and the two SSH servers in front of it.

use std::io;
use std::net::SocketAddr;

use russh::keys::PublicKey;
use tokio_util::sync::CancellationToken;

use crate::Scenario;

/// A rehearsed target, alive until it is dropped or its token is cancelled.
#[derive(Debug)]
pub struct Simulation {
    scenario: Scenario,
    guest: SocketAddr,
    host: SocketAddr,
    keys: HostKeys,
    cancel: CancellationToken,
}

/// The public host keys of both SSH servers, made anew for each run, for pinning.
#[derive(Debug, Clone)]
pub struct HostKeys {
    /// The guest's.
    pub guest: PublicKey,
    /// The host's (the gate's).
    pub host: PublicKey,
}

impl Simulation {
    /// Starts the broken machine and its two SSH servers on free loopback ports. Both let in the
    /// holder of `key` only, whatever the user's name. Ends when `cancel` is cancelled or the value
    /// is dropped.
    ///
    /// # Errors
    /// When no loopback port can be bound or the system has no randomness.
    pub async fn start(
        _scenario: Scenario,
        _key: PublicKey,
        _cancel: CancellationToken,
    ) -> io::Result<Simulation> {
        Err(io::Error::other("the simulated target is not built yet"))
    }

    /// Where the guest's SSH server listens.
    #[must_use]
    pub fn guest_addr(&self) -> SocketAddr {
        self.guest
    }

    /// Where the host's SSH server listens: the gate, and nothing else.
    #[must_use]
    pub fn host_addr(&self) -> SocketAddr {
        self.host
    }

    /// Both servers' public keys.
    #[must_use]
    pub fn host_keys(&self) -> &HostKeys {
        &self.keys
    }

    /// What is being rehearsed.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        self.scenario
    }

    /// Whether the machine is whole again, by the scenario's own judgement.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        false
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
