//! The sockets of one incident: one for the guest, one for the host, in a directory of its own. The
//! name of the socket is the name of the machine, so that a client can't ask for another.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::server::Config;
use rustix::net::Shutdown;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::seat::Seat;
use super::session::Client;
use super::work::Place;

/// Connections of one incident that may be open at once.
const CONNECTIONS: usize = 128;
/// How long a client may take to be let in.
const LOGIN: Duration = Duration::from_secs(10);
/// How soon is tried again to accept a connection when the system had none to give.
const AGAIN: Duration = Duration::from_millis(100);

/// The served sockets of one incident; closed and removed by Drop.
pub(super) struct Sockets {
    pub(super) directory: PathBuf,
    cancel: CancellationToken,
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.cancel.cancel();
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

/// What all connections of one incident share.
#[derive(Clone)]
struct Shared {
    seat: Arc<Seat>,
    config: Arc<Config>,
    /// The only account that may connect, besides root.
    peer: u32,
    room: Arc<Semaphore>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

/// Serves `seat` on sockets in `directory`, which is made, and belongs to `peer` alone.
pub(super) fn serve(
    seat: &Arc<Seat>,
    config: Arc<Config>,
    (directory, peer): (PathBuf, u32),
    cancel: CancellationToken,
) -> io::Result<Sockets> {
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    let sockets = Sockets {
        directory,
        cancel: cancel.clone(),
    };
    let tasks = seat.control.inner.tracker.clone();
    let shared = Shared {
        seat: Arc::clone(seat),
        config,
        peer,
        room: Arc::new(Semaphore::new(CONNECTIONS)),
        cancel,
        tasks,
    };
    for place in [Place::Guest, Place::Host] {
        let name = place.name(&seat.station.target);
        let listener = bind(&sockets.directory.join(name), peer)?;
        let accepting = shared.clone().accept(listener, place);
        shared.tasks.spawn(accepting);
    }
    // Others may put something there, as the SSH client does, and remove nothing of the server's.
    give(&sockets.directory, peer, 0o1777)?;
    Ok(sockets)
}

fn bind(path: &Path, peer: u32) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    give(path, peer, 0o666)?;
    Ok(listener)
}

/// Makes `path` the peer's. A server that may not give anything away, as in a container without
/// privileges, opens it with `mode` instead: who connects is looked at in any case.
fn give(path: &Path, peer: u32, mode: u32) -> io::Result<()> {
    if rustix::process::geteuid().as_raw() == peer {
        return Ok(());
    }
    match std::os::unix::fs::chown(path, Some(peer), None) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        }
        given => given,
    }
}

impl Shared {
    async fn accept(self, listener: UnixListener, place: Place) {
        let cancel = self.cancel.clone();
        cancel
            .run_until_cancelled(self.accept_all(listener, place))
            .await;
    }

    async fn accept_all(self, listener: UnixListener, place: Place) {
        loop {
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) if self.knows(&stream) => {
                    self.tasks.spawn(self.clone().converse(stream, place, room));
                }
                Ok(_) => tracing::warn!("a process of another account was turned away"),
                Err(error) => {
                    tracing::warn!(%error, "the bastion could not accept a connection");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    fn knows(&self, stream: &UnixStream) -> bool {
        let own = rustix::process::geteuid().as_raw();
        stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == self.peer || peer.uid() == own)
    }

    async fn converse(self, stream: UnixStream, place: Place, room: OwnedSemaphorePermit) {
        // The library's session is a task of its own, which ends with its stream.
        let Ok(line) = stream.as_fd().try_clone_to_owned() else {
            return;
        };
        let connection = self.cancel.child_token();
        let entered = Arc::new(Notify::new());
        let client = Client {
            seat: Arc::clone(&self.seat),
            place,
            tasks: self.tasks.clone(),
            entered: Arc::clone(&entered),
            connection: connection.clone(),
            doors: std::collections::HashMap::new(),
            told: 0,
        };
        let serving = async {
            let greeting = russh::server::run_stream(Arc::clone(&self.config), stream, client);
            let mut session = match timeout(LOGIN, greeting).await {
                Ok(Ok(session)) => session,
                Ok(Err(_)) | Err(_) => return,
            };
            let entering = timeout(LOGIN, entered.notified());
            tokio::select! {
                _ = &mut session => return,
                entered = entering => if entered.is_err() { return },
            }
            if let Err(error) = session.await {
                tracing::debug!(%error, "a client of the bastion left");
            }
        };
        connection.run_until_cancelled(serving).await;
        connection.cancel();
        let _closed = rustix::net::shutdown(&line, Shutdown::Both);
        drop(room);
    }
}
