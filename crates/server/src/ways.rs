//! Where the connections lead that come out of an agent's sandbox: to guest and host through the bastion, to
//! the model's API through the proxy. Each comes by a descriptor that the sandbox's first process hands over.

use std::io;
use std::net::TcpStream as PlainTcp;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as PlainUnix;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use breakglass_agent::sandbox::Way;
use breakglass_control::bastion::{Place, Post};
use breakglass_journal::{Actor, EventBody, IncidentId, Journal, Level};
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::TaskTracker;

use crate::egress::{Attempt, Destination, Egress, Error};

/// Refused attempts of one conversation that are recorded; those after them are in the server's log alone.
const RECORDED: usize = 32;

/// What leads out of the sandboxes of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ways {
    listed: Arc<[Destination]>,
    journal: Journal,
    tasks: TaskTracker,
}

impl Ways {
    /// The proxy lets through what is `listed`; what it refuses is recorded in `journal`.
    pub(crate) fn new(listed: Vec<Destination>, journal: Journal, tasks: TaskTracker) -> Ways {
        let listed = listed.into();
        Ways {
            listed,
            journal,
            tasks,
        }
    }

    /// The proxy of one conversation.
    pub(crate) fn egress(&self, incident: IncidentId) -> Egress {
        let (journal, tasks) = (self.journal.clone(), self.tasks.clone());
        let recorded = AtomicUsize::new(0);
        let report = move |attempt: Attempt| {
            tracing::info!(%incident, to = %attempt.to, error = ?attempt.error, "the agent's way out");
            let Some(message) = refused(&attempt) else {
                return;
            };
            let count = recorded.fetch_add(1, Ordering::Relaxed);
            if count > RECORDED {
                return;
            }
            let message = match count {
                RECORDED => {
                    "More refused attempts of the agent are in the server's log.".to_owned()
                }
                _ => message,
            };
            let journal = journal.clone();
            tasks.spawn(async move {
                let notice = EventBody::Notice {
                    level: Level::Warning,
                    code: "egress_refused".to_owned(),
                    message,
                };
                journal.record(incident, Actor::Agent, notice).await;
            });
        };
        Egress::new(self.listed.to_vec(), Arc::new(report), self.tasks.clone())
    }

    /// Takes over a connection. What is none of the kind that its way has is closed. Does not wait.
    pub(crate) fn take(&self, way: Way, stream: OwnedFd, post: &Post, egress: &Egress) {
        let taken = match way {
            Way::Guest => unix(stream).map(|stream| post.receive(Place::Guest, stream)),
            Way::Host => unix(stream).map(|stream| post.receive(Place::Host, stream)),
            Way::Model => tcp(stream).map(|stream| {
                let egress = egress.until(post.until_cut_off());
                self.tasks.spawn(async move { egress.serve(stream).await });
            }),
        };
        if let Err(error) = taken {
            tracing::warn!(%error, ?way, "what came out of the agent's sandbox is no connection");
        }
    }
}

/// A sentence for what was refused by the list; none for what was let through, or only failed.
fn refused(attempt: &Attempt) -> Option<String> {
    let to = &attempt.to;
    let error = attempt.error.as_ref()?;
    let why = match error {
        Error::NotListed(_) | Error::OtherName { .. } | Error::NoProxyRequest | Error::TooMany => {
            error
        }
        Error::Unreachable(_) => return None,
    };
    Some(format!(
        "The agent tried to reach {to} from its sandbox and was refused: {why}."
    ))
}

fn unix(stream: OwnedFd) -> io::Result<UnixStream> {
    is_of(&stream, AddressFamily::UNIX)?;
    let stream = PlainUnix::from(stream);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// A TCP connection that was handed over.
///
/// # Errors
/// When it is none.
pub(crate) fn tcp(stream: OwnedFd) -> io::Result<TcpStream> {
    is_of(&stream, AddressFamily::INET)?;
    let stream = PlainTcp::from(stream);
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn is_of(stream: &OwnedFd, family: AddressFamily) -> io::Result<()> {
    match socket_domain(stream.as_fd())? == family {
        true => Ok(()),
        false => Err(io::Error::other("it is a socket of another kind")),
    }
}
