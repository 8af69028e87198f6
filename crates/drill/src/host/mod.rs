//! The simulated target: a machine, and the two SSH servers in front of it.

mod client;
mod connection;
mod driver;
mod gate;
mod guest;
mod keys;
mod listen;
mod port;
mod screen;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use russh::keys::PublicKey;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use keys::HostKeys;

use crate::Scenario;
use crate::machine::{Clock, Machine};
use gate::Desk;
use listen::{GateServer, GuestServer};
use port::Port;

/// A rehearsed target, alive until it is dropped or its token is cancelled.
#[derive(Debug)]
pub struct Simulation {
    scenario: Scenario,
    machine: Machine,
    guest: SocketAddr,
    host: SocketAddr,
    keys: HostKeys,
    cancel: CancellationToken,
    tasks: TaskTracker,
    /// Where the gate keeps forensics; removed with the simulation.
    _forensics: TempDir,
}

impl Simulation {
    /// Starts the broken machine and its two SSH servers on free loopback ports. Both let in the
    /// holder of `key` only, whatever the user's name. Ends when `cancel` is cancelled or the value
    /// is dropped.
    ///
    /// # Errors
    /// When no loopback port can be bound, the system has no randomness, or no directory can be
    /// made for the forensics.
    pub async fn start(
        scenario: Scenario,
        key: PublicKey,
        cancel: CancellationToken,
    ) -> io::Result<Simulation> {
        let cancel = cancel.child_token();
        let tasks = TaskTracker::new();
        let machine = Machine::new(scenario, Clock::system());
        let forensics = tempfile::Builder::new()
            .prefix("breakglass-drill-")
            .tempdir()?;
        let (guest_key, host_key) = (keys::fresh()?, keys::fresh()?);
        let keys = HostKeys {
            guest: guest_key.public_key().clone(),
            host: host_key.public_key().clone(),
        };
        let (guest_port, mut host_port) = (Port::bind()?, Port::bind()?);
        let (guest, host) = (guest_port.addr(), host_port.addr());
        host_port.open()?;
        let desk = Desk {
            machine: machine.clone(),
            forensics: forensics.path().to_owned(),
            slots: Arc::new(Semaphore::new(gate::MAX_REQUESTS)),
            tasks: tasks.clone(),
        };
        let gate_server = GateServer {
            desk,
            key: key.clone(),
            config: connection::config(host_key),
            cancel: cancel.clone(),
        };
        let guest_server = GuestServer::new(
            machine.clone(),
            key,
            connection::config(guest_key),
            &cancel,
            &tasks,
        );
        tasks.spawn(gate_server.run(host_port));
        tasks.spawn(guest_server.run(guest_port));
        tasks.close();
        Ok(Simulation {
            scenario,
            machine,
            guest,
            host,
            keys,
            cancel,
            tasks,
            _forensics: forensics,
        })
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
        self.machine.is_healthy()
    }

    /// Stops both servers and waits until nothing of them runs any more: a moment, or as long as a
    /// verb that is on its way.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}
