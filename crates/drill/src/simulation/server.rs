//! Accepts connections for either SSH server. The host's server always listens; the guest's server
//! follows its machine: it refuses, stays silent or answers, and a stop or reset drops connections.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::Config;
use russh::{MethodKind, MethodSet, SshId};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, Service};
use super::port::Port;
use crate::machine::{Machine, Network};

const CONNECTIONS_MAX: usize = 64;
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait after an accept that failed.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How often to look at a machine that is off and has announced no change.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);

/// The common parts of both servers.
#[derive(Clone)]
pub(super) struct Shared {
    /// The client's key.
    pub(super) key: PublicKey,
    pub(super) tasks: TaskTracker,
    pub(super) cancel: CancellationToken,
}

/// A server; `service` makes the service for a client's address.
pub(super) struct Server<F> {
    service: F,
    config: Arc<Config>,
    machine: Option<Machine>,
    shared: Shared,
}

/// The SSH settings of a server with this host key.
fn config(key: PrivateKey) -> Arc<Config> {
    Arc::new(Config {
        server_id: SshId::Standard("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3".into()),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        max_auth_attempts: 6,
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        nodelay: true,
        ..Config::default()
    })
}

impl<S: Service, F: Fn(SocketAddr) -> S + 'static> Server<F> {
    /// A server that follows the power of `machine`, if there is one.
    pub(super) fn new(
        service: F,
        host_key: PrivateKey,
        machine: Option<Machine>,
        shared: &Shared,
    ) -> Server<F> {
        Server {
            service,
            config: config(host_key),
            machine,
            shared: shared.clone(),
        }
    }

    /// Serves until the server is cancelled.
    pub(super) async fn run(self, mut port: Port) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut generations = self.machine.as_ref().map(Machine::generations);
        let mut generation = self.shared.cancel.child_token();
        loop {
            let (network, until_change) = self.network();
            let accepting = async {
                if network == Network::Refused {
                    port.close();
                    tokio::time::sleep(until_change.unwrap_or(IDLE_INTERVAL)).await;
                    return None;
                }
                accept(&mut port).await
            };
            tokio::select! {
                biased;
                () = self.shared.cancel.cancelled() => return,
                () = changed(&mut generations) => {
                    generation.cancel();
                    generation = self.shared.cancel.child_token();
                }
                accepted = accepting => {
                    if let Some((stream, peer)) = accepted
                        && let Ok(slot) = slots.clone().try_acquire_owned()
                    {
                        let serving = self.serve(stream, peer, generation.child_token());
                        self.shared.tasks.spawn(async move {
                            serving.await;
                            drop(slot);
                        });
                    }
                }
            }
        }
    }

    fn network(&self) -> (Network, Option<Duration>) {
        let machine = self.machine.as_ref();
        machine.map_or((Network::Up, None), Machine::network)
    }

    /// Serves one connection until its client leaves or `token` is cancelled.
    fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        token: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<S, F> {
        // Checked again: the machine may have changed since the port was opened.
        let answers = self.network().0 == Network::Up;
        let client = Client::new((self.service)(peer), self.shared.key.clone(), token.clone());
        let config = self.config.clone();
        async move {
            if !answers {
                token.run_until_cancelled(ignore(stream)).await;
            } else if let Err(error) = converse(stream, config, client, &token).await {
                tracing::debug!(%error, "a connection to the simulated target ended");
            }
            // Ends the commands of this connection.
            token.cancel();
        }
    }
}

/// Waits for the next generation of the machine.
async fn changed(generations: &mut Option<watch::Receiver<u64>>) {
    if let Some(generations) = generations
        && generations.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// The next connection; `None` if accepting failed.
async fn accept(port: &mut Port) -> Option<(TcpStream, SocketAddr)> {
    let accepted = match port.open() {
        Ok(listener) => listener.accept().await,
        Err(error) => Err(error),
    };
    match accepted {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::debug!(%error, "the simulated target could not accept a connection");
            tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
            None
        }
    }
}

async fn converse<S: Service>(
    stream: TcpStream,
    config: Arc<Config>,
    client: Client<S>,
    token: &CancellationToken,
) -> Result<(), russh::Error> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let socket = stream.try_clone()?;
    let stream = TcpStream::from_std(stream)?;
    let session = async {
        let login = russh::server::run_stream(config, stream, client);
        let login = tokio::time::timeout(LOGIN_TIMEOUT, login).await;
        login
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??
            .await
    };
    tokio::pin!(session);
    tokio::select! {
        ended = &mut session => ended,
        () = token.cancelled() => {
            // Every read and write fails from here on, so the session ends.
            let _ = socket.shutdown(Shutdown::Both);
            session.await
        }
    }
}

/// Keeps a connection open without an answer until the client gives up.
async fn ignore(mut stream: TcpStream) {
    let mut unread = [0; 1024];
    while matches!(stream.read(&mut unread).await, Ok(1..)) {}
}
