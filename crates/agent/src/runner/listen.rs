//! The runner: listens, checks who connects, and runs a session for each connection.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::frame::{Report, encode};
use super::options::{RunnerOptions, Shared};
use super::socket::bind_for_all;
use super::{bastion_sockets, session};
use crate::cell;
use crate::child::{Spawner, mark_prefix};

/// Number of connections beyond the maximum number of processes, for requests of the version.
const SPARE_CONNECTIONS: usize = 2;
/// Delay after a connection could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Maximum time to send a refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// A listening runner.
pub struct Runner {
    listener: UnixListener,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    slots: Arc<Semaphore>,
    /// Makes this runner the owner of the cell's processes.
    _cell_lock: Option<fs::File>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

impl Runner {
    /// Listens, and kills the leftovers of an earlier runner of this cell.
    ///
    /// # Errors
    /// If another runner listens there, or the socket can't be made.
    pub fn bind(options: RunnerOptions, shutdown: CancellationToken) -> io::Result<Runner> {
        let listener = listen(&options.socket)?;
        // The leftovers of an earlier runner; there may be none.
        let _ = fs::remove_dir_all(bastion_sockets::root(&options.socket));
        let agent = &options.agent;
        let spawner = Spawner::start(agent.account, agent.confinement.clone());
        let cell_lock = cell::lock(agent);
        if cell_lock.is_some() {
            spawner.sweep_later(mark_prefix(&agent.home.to_string_lossy()));
        }
        let slots = Arc::new(Semaphore::new(agent.max_processes + SPARE_CONNECTIONS));
        let shared = Shared {
            options,
            spawner,
            shutdown,
        };
        Ok(Runner {
            listener,
            shared: Arc::new(shared),
            tasks: TaskTracker::new(),
            slots,
            _cell_lock: cell_lock,
        })
    }

    /// Works until it is cancelled; returns when every process is gone.
    pub async fn run(self) {
        loop {
            let accepted = tokio::select! {
                () = self.shared.shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
        let _ = fs::remove_file(&self.shared.options.socket);
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn admit(&self, stream: UnixStream) {
        let uid = stream.peer_cred().map(|peer| peer.uid());
        let peers = &self.shared.options.peers;
        if !uid.as_ref().is_ok_and(|uid| peers.contains(uid)) {
            tracing::warn!(?uid, ?peers, "a connection was refused: not a peer's uid");
            let reason = "The agent's runner does not work for the account of this server. Start it \
                          with --peer-uid and the server's uid.";
            self.tasks.spawn(refuse(stream, reason));
            return;
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            let reason = "The agent's runner has all processes at work that it may have.";
            self.tasks.spawn(refuse(stream, reason));
            return;
        };
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            session::run(stream, &shared).await;
            drop(slot);
        });
    }
}

async fn refuse(mut stream: UnixStream, reason: &str) {
    if let Ok(frame) = encode(&Report::Refused(reason.to_owned())) {
        let _ = timeout(REFUSAL_TIMEOUT, stream.write_all(&frame)).await;
    }
}

/// Replaces a socket on which no process listens any more.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        // Usually there is none yet; `bind` reports anything else.
        Err(_) => {}
    }
    bind_for_all(path)
}
