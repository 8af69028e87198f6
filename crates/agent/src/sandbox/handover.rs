//! The one descriptor that a sandbox is given: a packet socket, over which its first program hands
//! out every connection that something inside wants to make.
//!
//! Each packet from inside is one byte that names the [`Destination`], with the connected descriptor on it.
//! So the server never opens a path of the agent's, no path or variable decides whose connection it
//! is, and nothing stands between the two ends once it is handed over.

use breakglass_model::gateway::Destination;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// Orders the first program to end everything inside but itself and the agent.
const SWEEP: u8 = b'S';
/// Its answer, when nothing else is left.
const SWEPT: u8 = b's';

const DESTINATIONS: [Destination; 3] = [Destination::Guest, Destination::Host, Destination::Model];

/// The byte that names a destination in a packet.
const fn byte_of(destination: Destination) -> u8 {
    match destination {
        Destination::Guest => b'g',
        Destination::Host => b'h',
        Destination::Model => b'm',
    }
}

/// What comes from inside.
#[derive(Debug)]
pub(crate) enum Packet {
    /// A connection.
    Connection(Destination, OwnedFd),
    /// Everything but the agent has ended.
    Swept,
}

/// A pair of ends: the server's, and the one that the sandbox inherits.
///
/// # Errors
/// What the operating system says.
pub(crate) fn pair() -> io::Result<(Outside, OwnedFd)> {
    let (outside, inside) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&outside, true)?;
    // A wrapper for its readiness alone: nothing here depends on the kind of socket.
    let outside = UnixDatagram::from_std(outside.into())?;
    Ok((Outside(outside), inside))
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct Outside(UnixDatagram);

impl Outside {
    /// The next packet; none when the sandbox is gone. What is no packet of these is passed over.
    /// Cancel-safe.
    ///
    /// # Errors
    /// What the socket says.
    pub(crate) async fn next(&self) -> io::Result<Option<Packet>> {
        loop {
            let receive = || receive(&self.0);
            match self.0.async_io(Interest::READABLE, receive).await? {
                Received::End => return Ok(None),
                Received::Packet(packet) => return Ok(Some(packet)),
                Received::Nonsense => {}
            }
        }
    }

    /// Asks for the end of everything but the agent.
    ///
    /// # Errors
    /// What the socket says: the sandbox may be gone.
    pub(crate) async fn sweep(&self) -> io::Result<()> {
        let order = || Ok(send(&self.0, &[SWEEP], SendFlags::NOSIGNAL)?);
        self.0.async_io(Interest::WRITABLE, order).await.map(drop)
    }
}

enum Received {
    End,
    Packet(Packet),
    Nonsense,
}

fn receive(socket: &UnixDatagram) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let message = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptor = None;
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut given) = part {
            // There is room for one; the kernel closes others.
            descriptor = given.next();
        }
    }
    if message.bytes == 0 {
        return Ok(Received::End);
    }
    let way = DESTINATIONS
        .into_iter()
        .find(|one| byte_of(*one) == byte[0]);
    Ok(match (way, descriptor, byte[0]) {
        (Some(way), Some(descriptor), _) => Received::Packet(Packet::Connection(way, descriptor)),
        (None, None, SWEPT) => Received::Packet(Packet::Swept),
        _ => Received::Nonsense,
    })
}

/// Hands `connection` out. For the inside.
///
/// # Errors
/// What the socket says: the server may be gone.
pub(super) fn hand_out(
    outside: BorrowedFd<'_>,
    way: Destination,
    connection: BorrowedFd<'_>,
) -> io::Result<()> {
    let descriptors = [connection];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let byte = [byte_of(way)];
    sendmsg(
        outside,
        &[IoSlice::new(&byte)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Waits for an order to sweep; false when the server is gone. For the inside.
pub(super) fn wait_for_order(outside: &OwnedFd) -> bool {
    let mut byte = [0];
    loop {
        match rustix::net::recv(outside, &mut byte, RecvFlags::empty()) {
            Ok((_, 1)) if byte[0] == SWEEP => return true,
            Ok((_, 0)) => return false,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Says that the order was carried out. For the inside.
pub(super) fn report_swept(outside: &OwnedFd) {
    let _ = send(outside.as_fd(), &[SWEPT], SendFlags::NOSIGNAL);
}
