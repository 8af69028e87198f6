//! Knocks at a socket of the bastion, and waits until it opens: who it is, the other side finds out while
//! this process still lives.
//!
//! ```text
//!   knock ──▶ bastion:  "SSH-2.0-…"            let in: the connection itself is used
//!         ──▶ bastion:  "breakglass: refused…"  sent away
//!         ──▶ porter:   one byte, and with it a connection to the bastion, which is used instead
//! ```

use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two looks at an answer that has only begun.
const AGAIN: Duration = Duration::from_millis(1);
/// How every SSH server begins.
const GREETING: &[u8] = b"SSH-";
/// The byte that a connection comes with.
const HANDED: u8 = 0;
/// The longest refusal that is read.
const WORDS: u64 = 1024;

/// What came of knocking.
#[derive(Debug)]
pub enum Knocked {
    /// A connection to the bastion, over which nothing was read yet.
    In(OwnedFd),
    /// The other side's words.
    Refused(String),
}

/// Connects to `socket` and waits at most 10 s to be let in.
///
/// # Errors
/// What the system says; [`io::ErrorKind::TimedOut`] where nobody answers.
pub fn knock(socket: &Path) -> io::Result<Knocked> {
    answer(UnixStream::connect(socket)?)
}

/// Waits for the answer on a connection that has been made.
///
/// # Errors
/// Like [`knock`].
pub(crate) fn answer(stream: UnixStream) -> io::Result<Knocked> {
    let end = Instant::now() + ANSWER;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut first = [0; GREETING.len()];
        let seen = match recv(&stream, &mut first[..], RecvFlags::PEEK) {
            Ok((_, 0)) => return Ok(Knocked::Refused(String::new())),
            Ok((_, length)) => &first[..length.min(first.len())],
            Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if seen == GREETING {
            stream.set_read_timeout(None)?;
            return Ok(Knocked::In(stream.into()));
        }
        if seen.first() == Some(&HANDED) {
            return handed(&stream);
        }
        if !GREETING.starts_with(seen) {
            return words(stream);
        }
        std::thread::sleep(AGAIN);
    }
}

fn handed(stream: &UnixStream) -> io::Result<Knocked> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let message = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let whole = !message.flags.contains(ReturnFlags::CTRUNC);
    let connection = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut all) => all.next(),
        _ => None,
    });
    let none = || io::Error::other("no connection came with the answer");
    connection
        .filter(|_| whole)
        .map(Knocked::In)
        .ok_or_else(none)
}

/// Gives `connection` away over `to`, a unix socket, with one byte: as [`knock`] takes it, and OpenSSH's
/// client of a `ProxyCommand` where `ProxyUseFdpass` is set.
///
/// # Errors
/// What the system says.
pub fn hand_over(to: BorrowedFd<'_>, connection: &OwnedFd) -> io::Result<()> {
    let descriptors = [connection.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(
        to,
        &[IoSlice::new(&[HANDED])],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}

fn words(stream: UnixStream) -> io::Result<Knocked> {
    let mut said = Vec::new();
    // What was said before the connection broke is the answer.
    let _ = stream.take(WORDS).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    Ok(Knocked::Refused(
        breakglass_model::visible(said.trim_end()).to_string(),
    ))
}
