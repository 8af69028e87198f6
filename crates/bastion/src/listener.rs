//! The sockets of one incident, and the connections to them: one socket for the guest, one for the host, in a
//! directory of its own. Each socket has the name of its machine, so a client can't ask for another one.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::{Actor, EventBody, Level, Side};
use russh::server::Config;
use rustix::net::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection_limit::{CONNECTIONS_MAX, CommandCount, ConnectionLimit};
use crate::peer_auth::{PeerAuth, PeerRefusal, refusal_line};
use crate::session::{BastionSession, SessionTable};
use crate::ssh_server::AgentConnection;

/// Timeout for a client's whole login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for a refusal that the client does not read.
const REFUSAL_SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a connection could not be accepted.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The directory of one incident's sockets; removed when it is dropped.
pub(crate) struct Sockets(pub(crate) PathBuf);

impl Drop for Sockets {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// Serves the connections of one conversation.
#[derive(Clone)]
pub(crate) struct Service {
    session: Arc<BastionSession>,
    /// All sessions: a refused process may be the agent of another incident.
    sessions: SessionTable,
    config: Arc<Config>,
    /// The only account that may connect, besides our own.
    peer: u32,
    pub(crate) peer_auth: Arc<PeerAuth>,
    limit: Arc<ConnectionLimit>,
    /// Ends all connections.
    pub(crate) cancel: CancellationToken,
    tasks: TaskTracker,
}

/// One connection.
struct Incoming {
    stream: UnixStream,
    side: Side,
    is_authenticated: bool,
    cancel: CancellationToken,
    commands: CommandCount,
}

fn bind(path: &Path, peer: u32) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    give_to(path, peer)?;
    Ok(listener)
}

/// Makes `peer` the owner of `path`. If the server may not do that, as in a container without privileges, all
/// accounts may open it instead: peers are checked in any case.
fn give_to(path: &Path, peer: u32) -> io::Result<()> {
    if rustix::process::geteuid().as_raw() == peer {
        return Ok(());
    }
    match std::os::unix::fs::chown(path, Some(peer), None) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o666))
        }
        given => given,
    }
}

impl Service {
    pub(crate) fn new(
        session: &Arc<BastionSession>,
        sessions: SessionTable,
        config: Arc<Config>,
        peer: u32,
    ) -> Service {
        let peer_auth = Arc::new(PeerAuth::new());
        session.set_peer_auth(&peer_auth);
        Service {
            session: Arc::clone(session),
            sessions,
            config,
            peer,
            peer_auth,
            limit: Arc::default(),
            cancel: session.target.shutdown().child_token(),
            tasks: session.target.tasks().clone(),
        }
    }

    /// Creates `directory` and serves on sockets in it. The directory belongs to the server, so that no one else
    /// can replace a socket.
    pub(crate) fn listen(&self, directory: &Path) -> io::Result<Sockets> {
        fs::DirBuilder::new().mode(0o711).create(directory)?;
        let sockets = Sockets(directory.to_owned());
        for side in [Side::Guest, Side::Host] {
            let name = self.session.target.config().name_of(side);
            let listener = bind(&directory.join(name), self.peer)?;
            let service = self.clone();
            self.tasks.spawn(async move {
                let cancel = service.cancel.clone();
                cancel
                    .run_until_cancelled(service.accept(listener, side))
                    .await;
            });
        }
        Ok(sockets)
    }

    async fn accept(self, listener: UnixListener, side: Side) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if self.is_allowed_account(&stream) => {
                    self.authenticate(stream, side).await;
                }
                Ok(_) => tracing::warn!("a process of another account was refused"),
                Err(error) => {
                    tracing::warn!(%error, "the bastion could not accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                }
            }
        }
    }

    /// Checks the process before it gets a task or a connection slot, so that a flood of refused processes
    /// waits in the kernel's queue.
    async fn authenticate(&self, stream: UnixStream, side: Side) {
        if !self.peer_auth.has_check() {
            return self.spawn(stream, side, false);
        }
        match self.peer_auth.check_peer(&stream).await {
            Ok(()) => self.spawn(stream, side, true),
            Err(refusal) => {
                let service = self.clone();
                self.tasks.spawn(async move {
                    service.refuse(stream, side, refusal).await;
                });
            }
        }
    }

    /// Serves a connection that is known to be the agent's. Does not wait.
    pub(crate) fn serve(&self, stream: UnixStream, side: Side) {
        self.spawn(stream, side, true);
    }

    fn spawn(&self, stream: UnixStream, side: Side, is_authenticated: bool) {
        let cancel = self.cancel.child_token();
        let service = self.clone();
        let Some(slot) = self.limit.enter(&cancel) else {
            self.tasks.spawn(async move {
                let reason =
                    format!("commands run over all {CONNECTIONS_MAX} connections; wait for one");
                send_refusal(stream, &reason).await;
            });
            return;
        };
        self.tasks.spawn(async move {
            let incoming = Incoming {
                stream,
                side,
                is_authenticated,
                cancel,
                commands: slot.commands.clone(),
            };
            service.run(incoming).await;
            drop(slot);
        });
    }

    fn is_allowed_account(&self, stream: &UnixStream) -> bool {
        let own = rustix::process::geteuid().as_raw();
        stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == self.peer || peer.uid() == own)
    }

    async fn run(&self, incoming: Incoming) {
        // The library runs the session in a task of its own, which ends with its stream.
        let Ok(stream) = incoming.stream.as_fd().try_clone_to_owned() else {
            return;
        };
        let cancel = incoming.cancel.clone();
        cancel.run_until_cancelled(self.run_ssh(incoming)).await;
        cancel.cancel();
        let _closed = rustix::net::shutdown(&stream, Shutdown::Both);
    }

    async fn run_ssh(&self, incoming: Incoming) {
        let Incoming {
            mut stream,
            side,
            is_authenticated,
            cancel,
            commands,
        } = incoming;
        let deadline = Instant::now() + LOGIN_TIMEOUT;
        if !is_authenticated {
            match timeout_at(deadline, self.peer_auth.read_credential(&mut stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => return self.refuse(stream, side, refusal).await,
                Err(_) => return,
            }
        }
        let logged_in = Arc::new(Notify::new());
        let connection = AgentConnection {
            incident_session: Arc::clone(&self.session),
            side,
            tasks: self.tasks.clone(),
            logged_in: Arc::clone(&logged_in),
            connection: cancel,
            commands,
            channels: HashMap::new(),
            refusals: 0,
        };
        let greeting = russh::server::run_stream(Arc::clone(&self.config), stream, connection);
        let Ok(Ok(mut ssh)) = timeout_at(deadline, greeting).await else {
            return;
        };
        let logging_in = timeout_at(deadline, logged_in.notified());
        tokio::select! {
            _ = &mut ssh => return,
            logged_in = logging_in => if logged_in.is_err() { return },
        }
        if let Err(error) = ssh.await {
            tracing::debug!(%error, "a client of the bastion disconnected");
        }
    }

    /// Records the refusal, also in the incident whose agent it is, and reports it to the client.
    async fn refuse(&self, stream: UnixStream, side: Side, refusal: PeerRefusal) {
        let (process, is_reported) = match refusal {
            PeerRefusal::NotTheAgent(process) => (process, false),
            PeerRefusal::ByRunner(process) => (process, true),
        };
        if self.peer_auth.should_record() {
            let machine = self.session.target.config().name_of(side);
            let message = format!(
                "A process that does not belong to this incident's agent tried to connect to {machine} \
                 and was refused ({process})."
            );
            notice(&self.session, Actor::System, "stranger_refused", message).await;
            if let Some(other) = self.session_of(&stream) {
                let message = format!(
                    "The agent tried to connect to {machine} through another incident and was refused \
                     ({process})."
                );
                notice(&other, Actor::Agent, "other_way_refused", message).await;
            }
        }
        if !is_reported {
            send_refusal(stream, &process).await;
        }
    }

    /// The session of the incident whose agent is at the other end.
    fn session_of(&self, stream: &UnixStream) -> Option<Arc<BastionSession>> {
        let mut sessions = self.sessions.all().into_iter();
        sessions.find(|session| {
            !Arc::ptr_eq(session, &self.session)
                && session
                    .peer_auth()
                    .is_some_and(|auth| auth.is_agent(stream.as_fd()).is_ok())
        })
    }
}

async fn notice(session: &BastionSession, actor: Actor, code: &str, message: String) {
    let notice = EventBody::Notice {
        level: Level::Warning,
        code: code.to_owned(),
        message,
    };
    session.log().record(session.incident, actor, notice).await;
}

/// Sends the reason and hangs up.
async fn send_refusal(mut stream: UnixStream, reason: &str) {
    let line = refusal_line(reason);
    let _ = timeout(REFUSAL_SEND_TIMEOUT, stream.write_all(line.as_bytes())).await;
}
