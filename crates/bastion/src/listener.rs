//! The sockets of one incident: one for the guest, one for the host, in a directory of its own. The
//! name of the socket is the name of the machine, so that a client can't ask for another.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::{Actor, EventBody, Level};
use russh::server::Config;
use rustix::net::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Seats;
use crate::crowd::{CONNECTIONS, Crowd, Ticket};
use crate::guard::{Guard, Refused, words};
use crate::seat::Seat;
use crate::session::Client;
use breakglass_model::Side;

/// How long a client may take to be let in, all in all.
const LOGIN: Duration = Duration::from_secs(10);
/// How long a client may leave a refusal unread.
const GOODBYE: Duration = Duration::from_secs(2);
/// How soon is tried again to accept a connection when the system had none to give.
const AGAIN: Duration = Duration::from_millis(100);

/// The directory of one incident's sockets; removed by Drop.
pub(crate) struct Sockets(pub(crate) PathBuf);

impl Drop for Sockets {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// Serves the connections of one incident.
#[derive(Clone)]
pub(crate) struct Service {
    seat: Arc<Seat>,
    /// All seats: a stranger here may be another's agent.
    seats: Seats,
    config: Arc<Config>,
    /// The only account that may connect, besides root.
    peer: u32,
    pub(crate) guard: Arc<Guard>,
    crowd: Arc<Crowd>,
    /// Ends it.
    pub(crate) cancel: CancellationToken,
    tasks: TaskTracker,
}

fn bind(path: &Path, peer: u32) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    give(path, peer)?;
    Ok(listener)
}

/// Makes `path` the peer's. A server that may not give anything away, as in a container without
/// privileges, opens it to all instead: who connects is looked at in any case.
fn give(path: &Path, peer: u32) -> io::Result<()> {
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
    pub(crate) fn new(seat: &Arc<Seat>, seats: Seats, config: Arc<Config>, peer: u32) -> Service {
        let guard = Arc::new(Guard::new());
        seat.guard_by(&guard);
        Service {
            seat: Arc::clone(seat),
            seats,
            config,
            peer,
            guard,
            crowd: Arc::default(),
            cancel: seat.target.shutdown().child_token(),
            tasks: seat.target.tasks().clone(),
        }
    }

    /// Serves on sockets in `directory`, which is made. It stays the server's, so that nobody puts another
    /// socket in the place of one.
    pub(crate) fn listen(&self, directory: &Path) -> io::Result<Sockets> {
        fs::DirBuilder::new().mode(0o711).create(directory)?;
        let sockets = Sockets(directory.to_owned());
        for place in [Side::Guest, Side::Host] {
            let name = self.seat.target.config().name_of(place);
            let listener = bind(&directory.join(name), self.peer)?;
            self.tasks.spawn(self.clone().accept(listener, place));
        }
        Ok(sockets)
    }

    async fn accept(self, listener: UnixListener, place: Side) {
        let cancel = self.cancel.clone();
        cancel
            .run_until_cancelled(self.accept_all(listener, place))
            .await;
    }

    async fn accept_all(self, listener: UnixListener, place: Side) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if self.knows(&stream) => self.receive(stream, place).await,
                Ok(_) => tracing::warn!("a process of another account was turned away"),
                Err(error) => {
                    tracing::warn!(%error, "the bastion could not accept a connection");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// A proof is asked at once and here, so that strangers take no place and a flood of them waits in
    /// the kernel's queue.
    async fn receive(&self, stream: UnixStream, place: Side) {
        if !self.guard.asks_for_proof() {
            return self.converse_apart(stream, place, false);
        }
        match self.guard.prove(&stream).await {
            Ok(()) => self.converse_apart(stream, place, true),
            Err(refused) => {
                let shared = self.clone();
                self.tasks.spawn(async move {
                    shared.turn_away(stream, place, refused).await;
                });
            }
        }
    }

    /// Serves a connection that is known to be the agent's. Does not wait.
    pub(crate) fn take_in(&self, stream: UnixStream, place: Side) {
        self.converse_apart(stream, place, true);
    }

    fn converse_apart(&self, stream: UnixStream, place: Side, proved: bool) {
        let connection = self.cancel.child_token();
        let shared = self.clone();
        match self.crowd.enter(&connection) {
            Some(ticket) => drop(self.tasks.spawn(async move {
                shared
                    .converse(stream, (place, proved), (connection, ticket))
                    .await;
            })),
            None => drop(self.tasks.spawn(async move {
                let why = format!("commands run over all {CONNECTIONS} connections; wait for one");
                say(stream, &why).await;
            })),
        }
    }

    fn knows(&self, stream: &UnixStream) -> bool {
        let own = rustix::process::geteuid().as_raw();
        stream
            .peer_cred()
            .is_ok_and(|peer| peer.uid() == self.peer || peer.uid() == own)
    }

    async fn converse(
        self,
        stream: UnixStream,
        (place, proved): (Side, bool),
        (connection, ticket): (CancellationToken, Ticket),
    ) {
        // The library's session is a task of its own, which ends with its stream.
        let Ok(line) = stream.as_fd().try_clone_to_owned() else {
            return;
        };
        let serving = self.serve_one(stream, (place, proved), (&connection, &ticket));
        connection.run_until_cancelled(serving).await;
        connection.cancel();
        let _closed = rustix::net::shutdown(&line, Shutdown::Both);
    }

    async fn serve_one(
        &self,
        mut stream: UnixStream,
        (place, proved): (Side, bool),
        (connection, ticket): (&CancellationToken, &Ticket),
    ) {
        let deadline = Instant::now() + LOGIN;
        if !proved {
            match timeout_at(deadline, self.guard.ask_for_pass(&mut stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => return self.turn_away(stream, place, refused).await,
                Err(_) => return,
            }
        }
        let entered = Arc::new(Notify::new());
        let client = Client {
            seat: Arc::clone(&self.seat),
            place,
            tasks: self.tasks.clone(),
            entered: Arc::clone(&entered),
            connection: connection.clone(),
            work: ticket.work.clone(),
            doors: HashMap::new(),
            told: 0,
        };
        let greeting = russh::server::run_stream(Arc::clone(&self.config), stream, client);
        let Ok(Ok(mut session)) = timeout_at(deadline, greeting).await else {
            return;
        };
        let entering = timeout_at(deadline, entered.notified());
        tokio::select! {
            _ = &mut session => return,
            entered = entering => if entered.is_err() { return },
        }
        if let Err(error) = session.await {
            tracing::debug!(%error, "a client of the bastion left");
        }
    }

    /// Records who tried, here and where it belongs, and says so.
    async fn turn_away(&self, stream: UnixStream, place: Side, refused: Refused) {
        let (who, by_runner) = match refused {
            Refused::Stranger(who) => (who, false),
            Refused::ByRunner(who) => (who, true),
        };
        if self.guard.tells() {
            let machine = self.seat.target.config().name_of(place);
            let message = format!(
                "A process that is none of this incident's agent tried the agent's way to {machine} \
                 and was refused ({who})."
            );
            notice(&self.seat, Actor::System, "stranger_refused", message).await;
            if let Some(other) = self.home_of(&stream) {
                let message = format!(
                    "The agent tried another incident's way to {machine} and was refused ({who})."
                );
                notice(&other, Actor::Agent, "other_way_refused", message).await;
            }
        }
        if !by_runner {
            say(stream, &who).await;
        }
    }

    /// The incident whose agent is at the other end.
    fn home_of(&self, stream: &UnixStream) -> Option<Arc<Seat>> {
        let seats = self.seats.all();
        let mut others = seats
            .into_iter()
            .filter(|seat| !Arc::ptr_eq(seat, &self.seat));
        others.find(|seat| {
            seat.guard()
                .is_some_and(|guard| guard.knows(stream.as_fd()).is_ok())
        })
    }
}

async fn notice(seat: &Seat, actor: Actor, code: &str, message: String) {
    let notice = EventBody::Notice {
        level: Level::Warning,
        code: code.to_owned(),
        message,
    };
    seat.log().record(seat.incident, actor, notice).await;
}

/// Says why and hangs up.
async fn say(mut stream: UnixStream, why: &str) {
    let words = words(why);
    let _ = timeout(GOODBYE, stream.write_all(words.as_bytes())).await;
}
