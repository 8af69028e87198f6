//! Passes a file descriptor over a unix socket, together with one byte that names its purpose.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// A received message.
pub(crate) struct Received {
    /// None at the end of the connection.
    pub(crate) byte: Option<u8>,
    pub(crate) descriptor: Option<OwnedFd>,
}

/// Sends `descriptor` over `socket` with `byte`.
///
/// # Errors
/// The operating system's error.
pub(crate) fn send(socket: BorrowedFd<'_>, byte: u8, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let byte = [byte];
    sendmsg(
        socket,
        &[IoSlice::new(&byte)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one byte and the descriptor that was sent with it, if there is one.
///
/// # Errors
/// The operating system's error.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Received> {
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
        if let RecvAncillaryMessage::ScmRights(mut received) = part {
            // There is room for one; the kernel closes the others.
            descriptor = received.next();
        }
    }
    Ok(Received {
        byte: (message.bytes > 0).then_some(byte[0]),
        descriptor,
    })
}
