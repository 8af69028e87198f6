//! The packet socket that a sandbox inherits. Its first process passes every connection that is made inside to
//! the server over it.
//!
//! Each packet from inside is one byte that names the [`Destination`], with the connected descriptor. So the
//! server never opens a path of the agent's, no path or variable decides to which conversation a connection
//! belongs, and nothing sits between the two ends afterwards.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use breakglass_model::gateway::Destination;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use crate::descriptor::{self, Received};

/// Orders the first process to kill everything inside but itself and the agent.
const SWEEP: u8 = b'S';
/// Its answer.
const SWEPT: u8 = b's';

/// A packet from inside.
#[derive(Debug)]
pub(crate) enum Packet {
    Connection(Destination, OwnedFd),
    /// Everything but the agent has ended.
    Swept,
}

/// Both ends of the socket.
#[derive(Debug)]
pub(crate) struct HandoverSockets {
    /// The server's end.
    pub(crate) outside: Outside,
    /// The end that the sandbox inherits.
    pub(crate) inside: OwnedFd,
}

impl HandoverSockets {
    /// # Errors
    /// The operating system's error.
    pub(super) fn pair() -> io::Result<HandoverSockets> {
        let (outside, inside) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&outside, true)?;
        // Used only for readiness, which does not depend on the type of the socket.
        let outside = Outside(UnixDatagram::from_std(outside.into())?);
        Ok(HandoverSockets { outside, inside })
    }
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct Outside(UnixDatagram);

impl Outside {
    /// The next packet; none when the sandbox is gone. Skips invalid packets. Cancel-safe.
    ///
    /// # Errors
    /// The socket's error.
    pub(super) async fn next(&self) -> io::Result<Option<Packet>> {
        loop {
            let receive = || descriptor::receive(&self.0);
            let received = self.0.async_io(Interest::READABLE, receive).await?;
            if received.byte.is_none() {
                return Ok(None);
            }
            if let Some(packet) = parse(received) {
                return Ok(Some(packet));
            }
        }
    }

    /// Orders the first process to kill everything but the agent.
    ///
    /// # Errors
    /// The socket's error, for example if the sandbox is gone.
    pub(super) async fn order_sweep(&self) -> io::Result<()> {
        let order = || Ok(send(&self.0, &[SWEEP], SendFlags::NOSIGNAL)?);
        self.0.async_io(Interest::WRITABLE, order).await.map(drop)
    }
}

fn parse(received: Received) -> Option<Packet> {
    let destination = match (received.byte?, &received.descriptor) {
        (b'g', _) => Destination::Guest,
        (b'h', _) => Destination::Host,
        (b'm', _) => Destination::Model,
        (SWEPT, None) => return Some(Packet::Swept),
        _ => return None,
    };
    Some(Packet::Connection(destination, received.descriptor?))
}

/// Passes `connection` to the server. Called inside.
///
/// # Errors
/// The socket's error, for example if the server is gone.
pub(super) fn pass_connection(
    outside: BorrowedFd<'_>,
    destination: Destination,
    connection: BorrowedFd<'_>,
) -> io::Result<()> {
    let byte = match destination {
        Destination::Guest => b'g',
        Destination::Host => b'h',
        Destination::Model => b'm',
    };
    descriptor::send(outside, byte, connection)
}

/// Waits for an order to sweep; false if the server is gone. Called inside.
pub(super) fn wait_for_sweep_order(outside: &OwnedFd) -> bool {
    let mut byte = [0];
    loop {
        match recv(outside, &mut byte, RecvFlags::empty()) {
            Ok((_, 1)) if byte[0] == SWEEP => return true,
            Ok((_, 0)) => return false,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Reports that the sweep is done. Called inside.
pub(super) fn report_swept(outside: &OwnedFd) {
    let _ = send(outside.as_fd(), &[SWEPT], SendFlags::NOSIGNAL);
}
