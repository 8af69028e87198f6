//! Who listens when: the gate always, the guest as far as its machine has come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PublicKey;
use russh::server::Config;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::connection::{MAX_CONNECTIONS, serve};
use super::gate::{Desk, Gate};
use super::guest::Guest;
use super::port::Port;
use crate::machine::{Machine, Network};

/// How soon a port is tried again that could not be opened.
const AGAIN: Duration = Duration::from_millis(100);
/// How long to wait for a change that comes by itself when none is due.
const IDLE: Duration = Duration::from_secs(60);

/// The host's server.
pub(super) struct GateServer {
    pub(super) desk: Desk,
    pub(super) key: PublicKey,
    pub(super) config: Arc<Config>,
    pub(super) cancel: CancellationToken,
}

impl GateServer {
    pub(super) async fn run(self, mut port: Port) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while !self.cancel.is_cancelled() {
            let accepted = self.cancel.run_until_cancelled(accept(&mut port)).await;
            let Some((stream, peer)) = accepted.flatten() else {
                continue;
            };
            let Ok(slot) = connections.clone().try_acquire_owned() else {
                continue;
            };
            let gate = Gate {
                desk: self.desk.clone(),
                source: peer.ip().to_string(),
            };
            let client = Client::new(gate, self.key.clone(), self.cancel.child_token());
            let config = self.config.clone();
            self.desk.tasks.spawn(async move {
                serve(stream, config, client).await;
                drop(slot);
            });
        }
    }
}

/// The next connection; none when the system has none to give just now.
async fn accept(port: &mut Port) -> Option<(TcpStream, SocketAddr)> {
    let accepted = match port.open() {
        Ok(listener) => listener.accept().await,
        Err(error) => Err(error),
    };
    match accepted {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::debug!(%error, "the simulated target could not accept a connection");
            tokio::time::sleep(AGAIN).await;
            None
        }
    }
}

/// The guest's server.
pub(super) struct GuestServer {
    machine: Machine,
    key: PublicKey,
    config: Arc<Config>,
    changes: watch::Receiver<u64>,
    /// The generation that `life` belongs to.
    generation: u64,
    connections: Arc<Semaphore>,
    cancel: CancellationToken,
    /// Cancelled when the machine that now runs goes: its connections go with it.
    life: CancellationToken,
    tasks: TaskTracker,
}

impl GuestServer {
    pub(super) fn new(
        machine: Machine,
        key: PublicKey,
        config: Arc<Config>,
        cancel: &CancellationToken,
        tasks: &TaskTracker,
    ) -> GuestServer {
        let mut changes = machine.generations();
        let generation = *changes.borrow_and_update();
        GuestServer {
            generation,
            changes,
            machine,
            key,
            config,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            cancel: cancel.clone(),
            life: cancel.child_token(),
            tasks: tasks.clone(),
        }
    }

    pub(super) async fn run(mut self, mut port: Port) {
        while !self.cancel.is_cancelled() {
            let (network, change) = self.machine.network();
            if network == Network::Refused {
                port.close();
                self.wait(change.unwrap_or(IDLE)).await;
                continue;
            }
            let accepted = tokio::select! {
                () = self.cancel.cancelled() => return,
                _ = self.changes.changed() => None,
                accepted = accept(&mut port) => accepted,
            };
            match accepted {
                Some((stream, _)) => self.admit(stream),
                None => self.renew(),
            }
        }
    }

    async fn wait(&mut self, time: Duration) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            _ = self.changes.changed() => {}
            () = tokio::time::sleep(time) => {}
        }
        self.renew();
    }

    /// Ends the connections of a machine that is gone.
    fn renew(&mut self) {
        let generation = *self.changes.borrow_and_update();
        if generation != self.generation {
            self.generation = generation;
            self.life.cancel();
            self.life = self.cancel.child_token();
        }
    }

    fn admit(&self, stream: TcpStream) {
        let Ok(slot) = self.connections.clone().try_acquire_owned() else {
            return;
        };
        let token = self.life.child_token();
        // Asked again: the machine may have gone since the port was opened.
        let answers = self.machine.network().0 == Network::Up;
        let guest = Guest {
            machine: self.machine.clone(),
            user: String::new(),
            tasks: self.tasks.clone(),
        };
        let client = Client::new(guest, self.key.clone(), token.clone());
        let config = self.config.clone();
        self.tasks.spawn(async move {
            if answers {
                serve(stream, config, client).await;
            } else {
                token.run_until_cancelled(silence(stream)).await;
            }
            drop(slot);
        });
    }
}

/// Holds a connection and says nothing until the client gives up.
async fn silence(mut stream: TcpStream) {
    let mut unread = [0; 1024];
    while matches!(stream.read(&mut unread).await, Ok(1..)) {}
}
