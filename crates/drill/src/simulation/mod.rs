//! The simulated target: a machine, and the SSH servers of its host and its guest.

mod channel;
mod client;
mod driver;
mod gate;
mod guest;
mod port;
mod screen;
mod server;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::machine::{Clock, Machine};
use crate::scenario::Scenario;
use gate::Gate;
use guest::Guest;
use port::Port;
use server::{Server, Shared};

/// The public host keys of both SSH servers, new for each drill.
#[derive(Debug, Clone)]
pub struct HostKeys {
    /// The guest's key.
    pub guest: PublicKey,
    /// The host's key.
    pub host: PublicKey,
}

/// A simulated target. Ends when it is dropped or its token is cancelled.
#[derive(Debug)]
pub struct Simulation {
    scenario: Scenario,
    machine: Machine,
    guest: SocketAddr,
    host: SocketAddr,
    keys: HostKeys,
    cancel: CancellationToken,
    tasks: TaskTracker,
    /// Where the gate keeps its captures; removed with the simulation.
    _forensics: TempDir,
}

impl Simulation {
    /// Starts the broken machine and its two SSH servers on free loopback ports. Both accept `key`
    /// only, with any user name.
    ///
    /// # Errors
    /// If no loopback port can be bound, no directory can be created, or the system provides no
    /// random bytes.
    pub async fn start(
        scenario: Scenario,
        key: PublicKey,
        cancel: CancellationToken,
    ) -> io::Result<Simulation> {
        let cancel = cancel.child_token();
        let tasks = TaskTracker::new();
        let machine = Machine::new(scenario.broken_machine()?, Clock::system());
        let directory = tempfile::Builder::new()
            .prefix("breakglass-drill-")
            .tempdir()?;
        let (guest_key, host_key) = (generate_key()?, generate_key()?);
        let keys = HostKeys {
            guest: guest_key.public_key().clone(),
            host: host_key.public_key().clone(),
        };
        let (guest_port, mut host_port) = (Port::bind()?, Port::bind()?);
        let (guest, host) = (guest_port.addr(), host_port.addr());
        host_port.open()?;
        let gate = Gate {
            machine: machine.clone(),
            forensics: directory.path().to_owned(),
            slots: Arc::new(Semaphore::new(gate::REQUESTS_MAX)),
            tasks: tasks.clone(),
            source: String::new(),
        };
        let host_service = move |peer: SocketAddr| Gate {
            source: peer.ip().to_string(),
            ..gate.clone()
        };
        let (guest_machine, guest_tasks) = (machine.clone(), tasks.clone());
        let guest_service = move |_| Guest {
            machine: guest_machine.clone(),
            user: String::new(),
            tasks: guest_tasks.clone(),
        };
        let shared = Shared {
            key,
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        };
        let host_server = Server::new(host_service, host_key, None, &shared);
        let followed = Some(machine.clone());
        let guest_server = Server::new(guest_service, guest_key, followed, &shared);
        tasks.spawn(host_server.run(host_port));
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
            _forensics: directory,
        })
    }

    /// The address of the guest's SSH server.
    #[must_use]
    pub fn guest_addr(&self) -> SocketAddr {
        self.guest
    }

    /// The address of the host's SSH server, which runs the gate only.
    #[must_use]
    pub fn host_addr(&self) -> SocketAddr {
        self.host
    }

    /// Both servers' public keys.
    #[must_use]
    pub fn host_keys(&self) -> &HostKeys {
        &self.keys
    }

    /// Whether the machine is repaired, as its scenario defines it.
    #[must_use]
    pub fn is_repaired(&self) -> bool {
        let scenario = self.scenario;
        self.machine
            .step(|state, now| scenario.is_repaired(state, now))
    }

    /// Stops both servers and waits until all their tasks have ended; this takes as long as a running
    /// verb.
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

fn generate_key() -> io::Result<PrivateKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| io::Error::other(format!("no random bytes for a host key: {error}")))?;
    Ok(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))
}
