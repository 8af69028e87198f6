//! Outbound connections of an agent's sandbox: to guest and host through the bastion, to the model's API through the
//! egress proxy. Each arrives as a descriptor from the sandbox's first process.

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

/// Maximum number of different refused attempts per conversation in the incident log; later ones are only in the
/// server's log.
const RECORDED_REFUSALS_MAX: usize = 32;

/// Handles the outbound connections of all sandboxes. Clones share one state.
#[derive(Clone)]
pub struct Outbound {
    /// The hosts that each agent's proxy allows, by the agent's name.
    allowed: Arc<HashMap<String, Vec<AllowedHost>>>,
    log: Log,
    tasks: TaskTracker,
}

impl Outbound {
    /// `allowed` contains the hosts that each agent's proxy allows, by the agent's name. Refused attempts are recorded in
    /// `log`.
    pub fn new(
        allowed: HashMap<String, Vec<AllowedHost>>,
        log: Log,
        tasks: TaskTracker,
    ) -> Outbound {
        Outbound {
            allowed: Arc::new(allowed),
            log,
            tasks,
        }
    }

    /// The egress proxy of one conversation with `agent`.
    pub fn egress(&self, incident: IncidentId, agent: &str) -> Egress {
        let log = self.log.clone();
        let tasks = self.tasks.clone();
        let recorded = Mutex::new(HashSet::new());
        let report = move |attempt: Attempt| {
            tracing::info!(%incident, to = %attempt.to, error = attempt.error.as_ref().map(tracing::field::display), "outbound connection of the agent");
            let Some(message) = refusal_message(&attempt) else {
                return;
            };
            let Some(message) = first_time(&recorded, message) else {
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
        let allowed = self.allowed.get(agent).cloned().unwrap_or_default();
        Egress::new(allowed, Arc::new(report), self.tasks.clone())
    }

    /// Takes over a connection, without blocking. A descriptor of the wrong type is closed.
    pub fn connect(
        &self,
        destination: Destination,
        stream: OwnedFd,
        bastion: &BastionConversation,
        egress: &Egress,
    ) {
        let accepted = match destination {
            Destination::Guest => unix(stream).map(|stream| bastion.receive(Side::Guest, stream)),
            Destination::Host => unix(stream).map(|stream| bastion.receive(Side::Host, stream)),
            Destination::Model => tcp(stream).map(|stream| {
                let egress = egress.until(bastion.until_cut_off());
                self.tasks.spawn(async move { egress.serve(stream).await });
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, ?destination, "a descriptor from the agent's sandbox is not a connection");
        }
    }
}

/// The message to record: each message only once, and a final one if there are too many.
fn first_time(recorded: &Mutex<HashSet<String>>, message: String) -> Option<String> {
    let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
    if recorded.len() > RECORDED_REFUSALS_MAX || !recorded.insert(message.clone()) {
        return None;
    }
    if recorded.len() > RECORDED_REFUSALS_MAX {
        return Some("More refused attempts of the agent are in the server's log.".to_owned());
    }
    Some(message)
}

/// The message for an attempt that was refused; `None` if it was allowed, or allowed and failed.
fn refusal_message(attempt: &Attempt) -> Option<String> {
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
    check_socket(&stream, AddressFamily::UNIX)?;
    let stream = PlainUnix::from(stream);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Converts a descriptor into a TCP connection.
///
/// # Errors
/// If it is not a TCP socket.
pub fn tcp(stream: OwnedFd) -> io::Result<TcpStream> {
    check_socket(&stream, AddressFamily::INET)?;
    let stream = PlainTcp::from(stream);
    stream.set_nonblocking(true)?;
    // Interactive input arrives in small pieces, whose answers are awaited.
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

fn check_socket(stream: &OwnedFd, family: AddressFamily) -> io::Result<()> {
    if socket_domain(stream)? == family && socket_type(stream)? == SocketType::STREAM {
        Ok(())
    } else {
        Err(io::Error::other("the socket has the wrong type"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[tokio::test]
    async fn descriptor_of_the_wrong_type_is_refused() {
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
