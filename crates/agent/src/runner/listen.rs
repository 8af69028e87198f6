//! The runner: listens, looks at who connects, and gives each connection a session.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as Probe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::frame::{Report, encode};
use super::{porter, session};
use crate::child::{self, Launcher};
use crate::{AgentOptions, cell};

/// Connections beyond the processes that may live: one asks for the version meanwhile.
const SPARE: usize = 2;
/// How long the system may take to have room for another connection.
const ROOM: Duration = Duration::from_millis(100);
/// How long a refusal may take to be sent.
const REFUSAL_LIMIT: Duration = Duration::from_secs(2);

/// What a runner is started with.
#[derive(Debug, Clone)]
pub struct RunnerOptions {
    /// Where it listens: in a directory that it shares with the server.
    pub socket: PathBuf,
    /// The uids that it works for. The kernel tells who connects.
    pub peers: Vec<u32>,
    /// The CLI and its cell. The login of the model's API is in `env`; names, models and limits of
    /// turns are the server's affair.
    pub agent: AgentOptions,
    /// Where `ssh_config` and `known_hosts` are put, which come from the server. `{cell}` in them
    /// stands for this directory, `{program}` for this program.
    pub ssh_dir: PathBuf,
}

/// What every session shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: RunnerOptions,
    pub(super) launcher: Launcher,
    pub(super) end: CancellationToken,
}

/// A runner that listens.
pub struct Runner {
    listener: UnixListener,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    slots: Arc<Semaphore>,
    /// Says that the cell's processes are this runner's.
    _cell: Option<fs::File>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

impl Runner {
    /// Listens, and sweeps up what an earlier runner of this cell has left.
    ///
    /// # Errors
    /// If another runner listens there, or the socket can't be made.
    pub fn bind(options: RunnerOptions, end: CancellationToken) -> io::Result<Runner> {
        let listener = listen(&options)?;
        // What an earlier runner left there is nobody's.
        let _gone = fs::remove_dir_all(porter::root(&options.socket));
        let launcher = Launcher::start(options.agent.account, options.agent.walls.clone());
        let cell = cell::claim(&options.agent);
        if cell.is_some() {
            launcher.sweep_later(child::mark_of(&options.agent.home.to_string_lossy()));
        }
        let slots = Arc::new(Semaphore::new(options.agent.max_processes + SPARE));
        let shared = Shared {
            options,
            launcher,
            end,
        };
        Ok(Runner {
            listener,
            shared: Arc::new(shared),
            tasks: TaskTracker::new(),
            slots,
            _cell: cell,
        })
    }

    /// Works until it is cancelled; returns when every process is gone.
    pub async fn run(self) {
        loop {
            let accepted = tokio::select! {
                () = self.shared.end.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(ROOM).await;
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
            let why = "The agent's runner does not work for the account of this server. Start it \
                       with --peer-uid and the server's uid.";
            self.tasks.spawn(refuse(stream, why.to_owned()));
            return;
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            let why = "The agent's runner has all processes at work that it may have.";
            self.tasks.spawn(refuse(stream, why.to_owned()));
            return;
        };
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            session::run(stream, &shared).await;
            drop(slot);
        });
    }
}

/// Says why, and hangs up.
async fn refuse(mut stream: UnixStream, why: String) {
    if let Ok(frame) = encode(&Report::Refused(why)) {
        let _ = timeout(REFUSAL_LIMIT, stream.write_all(&frame)).await;
    }
}

/// Who may come in is told by the peer's uid and by who reaches the directory; so the socket itself
/// is open to all.
fn listen(options: &RunnerOptions) -> io::Result<UnixListener> {
    let path = &options.socket;
    match Probe::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        // There is none yet; what else there may be, binding says.
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}
