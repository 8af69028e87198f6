//! Where the connections lead that come out of an agent's sandbox: to guest and host through the bastion, to
//! the model's API through the proxy. Each comes by a descriptor that the sandbox's first process hands over.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::TcpStream as PlainTcp;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as PlainUnix;
use std::sync::{Arc, Mutex, PoisonError};

use breakglass_bastion::BastionConversation;
use breakglass_log::Log;
use breakglass_model::Side;
use breakglass_model::gateway::Destination;
use breakglass_model::{Actor, EventBody, IncidentId, Level};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::TaskTracker;

use crate::egress::{Attempt, Egress, Error};
use breakglass_config::AllowedHost;

/// Different refused attempts of one conversation that are recorded; those after them are in the server's log alone.
const RECORDED: usize = 32;

/// What leads out of the sandboxes of a server. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    /// What each agent's proxy lets through.
    listed: Arc<HashMap<String, Vec<AllowedHost>>>,
    log: Log,
    tasks: TaskTracker,
}

impl Outbound {
    /// The proxy lets through what is `listed` under the agent's name; what it refuses is recorded in
    /// `journal`.
    pub fn new(
        listed: HashMap<String, Vec<AllowedHost>>,
        log: Log,
        tasks: TaskTracker,
    ) -> Outbound {
        Outbound {
            listed: Arc::new(listed),
            log,
            tasks,
        }
    }

    /// The proxy of one conversation with `agent`.
    pub fn egress(&self, incident: IncidentId, agent: &str) -> Egress {
        let (log, tasks) = (self.log.clone(), self.tasks.clone());
        let told = Mutex::new(HashSet::new());
        let report = move |attempt: Attempt| {
            tracing::info!(%incident, to = %attempt.to, error = attempt.error.as_ref().map(tracing::field::display), "the agent's way out");
            let Some(message) = refused(&attempt) else {
                return;
            };
            let Some(message) = once(&told, message) else {
                return;
            };
            let log = log.clone();
            tasks.spawn(async move {
                let notice = EventBody::Notice {
                    level: Level::Warning,
                    code: "egress_refused".to_owned(),
                    message,
                };
                log.record(incident, Actor::Agent, notice).await;
            });
        };
        let listed = self.listed.get(agent).cloned().unwrap_or_default();
        Egress::new(listed, Arc::new(report), self.tasks.clone())
    }

    /// Takes over a connection. What is none of the kind that its way has is closed. Does not wait.
    pub fn connect(
        &self,
        destination: Destination,
        stream: OwnedFd,
        bastion: &BastionConversation,
        egress: &Egress,
    ) {
        let taken = match destination {
            Destination::Guest => unix(stream).map(|stream| bastion.receive(Side::Guest, stream)),
            Destination::Host => unix(stream).map(|stream| bastion.receive(Side::Host, stream)),
            Destination::Model => tcp(stream).map(|stream| {
                let egress = egress.until(bastion.until_cut_off());
                self.tasks.spawn(async move { egress.serve(stream).await });
            }),
        };
        if let Err(error) = taken {
            tracing::warn!(%error, ?destination, "what came out of the agent's sandbox is no connection");
        }
    }
}

/// What is to be told: each sentence once, and of many that there are more.
fn once(told: &Mutex<HashSet<String>>, message: String) -> Option<String> {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() > RECORDED || !told.insert(message.clone()) {
        return None;
    }
    let last = "More refused attempts of the agent are in the server's log.";
    Some(match told.len() > RECORDED {
        true => last.to_owned(),
        false => message,
    })
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
pub fn tcp(stream: OwnedFd) -> io::Result<TcpStream> {
    is_of(&stream, AddressFamily::INET)?;
    let stream = PlainTcp::from(stream);
    stream.set_nonblocking(true)?;
    // What is typed comes in small pieces, and each is awaited.
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

fn is_of(stream: &OwnedFd, family: AddressFamily) -> io::Result<()> {
    let of_family = socket_domain(stream)? == family;
    match of_family && socket_type(stream)? == SocketType::STREAM {
        true => Ok(()),
        false => Err(io::Error::other("it is a socket of another kind")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[tokio::test]
    async fn an_odd_descriptor_out_of_a_sandbox_is_no_connection() {
        let (pipe, _writer) = std::io::pipe().unwrap();
        let (datagram, _peer) = UnixDatagram::pair().unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let odd: [OwnedFd; 4] = [pipe.into(), datagram.into(), udp.into(), file.into()];
        for descriptor in odd {
            assert!(unix(descriptor.try_clone().unwrap()).is_err());
            assert!(tcp(descriptor).is_err());
        }
        let (stream, _peer) = PlainUnix::pair().unwrap();
        let stream: OwnedFd = stream.into();
        assert!(tcp(stream.try_clone().unwrap()).is_err());
        assert!(unix(stream).is_ok());
    }
}
