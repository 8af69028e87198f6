//! The client's side of a bastion socket: connects and waits until the connection is accepted. The other side
//! checks which process connected, while that process waits here.
//!
//! ```text
//!   connect ──▶ bastion:               "SSH-2.0-…"            accepted: this connection is used
//!           ──▶ bastion:               "breakglass: refused…"  refused
//!           ──▶ the runner's socket:   one byte with a connection to the bastion, which is used instead
//! ```

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::descriptor;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before an answer of which only the first bytes have arrived is read again.
const PARTIAL_ANSWER_DELAY: Duration = Duration::from_millis(1);
/// The first bytes of every SSH server.
const SSH_GREETING: &[u8] = b"SSH-";
/// The byte that is sent with a connection.
const CONNECTION_FOLLOWS: u8 = 0;
const REFUSAL_MAX_BYTES: u64 = 1024;

/// The bastion's answer to a connection.
#[derive(Debug)]
pub enum BastionAnswer {
    /// A connection to the bastion, from which nothing has been read yet.
    Accepted(OwnedFd),
    /// The bastion's reason; empty if it closed the connection.
    Refused(String),
}

/// Connects to `socket` and waits at most 10 s for the answer.
///
/// # Errors
/// The operating system's error; [`io::ErrorKind::TimedOut`] if there is no answer in time.
pub fn connect_to_bastion(socket: &Path) -> io::Result<BastionAnswer> {
    await_answer(UnixStream::connect(socket)?)
}

/// Waits for the answer on an existing connection.
///
/// # Errors
/// As [`connect_to_bastion`].
pub(crate) fn await_answer(stream: UnixStream) -> io::Result<BastionAnswer> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; SSH_GREETING.len()];
        let start = match recv(&stream, &mut buffer[..], RecvFlags::PEEK) {
            Ok((_, 0)) => return Ok(BastionAnswer::Refused(String::new())),
            Ok((_, length)) => &buffer[..length.min(buffer.len())],
            Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if start == SSH_GREETING {
            stream.set_read_timeout(None)?;
            return Ok(BastionAnswer::Accepted(stream.into()));
        }
        if start.first() == Some(&CONNECTION_FOLLOWS) {
            let connection = descriptor::receive(&stream)?.descriptor;
            let missing = || io::Error::other("no connection came with the answer");
            return connection.map(BastionAnswer::Accepted).ok_or_else(missing);
        }
        if !SSH_GREETING.starts_with(start) {
            return Ok(BastionAnswer::Refused(read_refusal(stream)));
        }
        std::thread::sleep(PARTIAL_ANSWER_DELAY);
    }
}

/// Sends `connection` over the unix socket `to`, as [`connect_to_bastion`] receives it, and as OpenSSH's client
/// expects it from a `ProxyCommand` with `ProxyUseFdpass`.
///
/// # Errors
/// The operating system's error.
pub fn pass_connection(to: BorrowedFd<'_>, connection: &OwnedFd) -> io::Result<()> {
    descriptor::send(to, CONNECTION_FOLLOWS, connection.as_fd())
}

fn read_refusal(stream: UnixStream) -> String {
    let mut text = Vec::new();
    // If the connection breaks, the text so far is the answer.
    let _ = stream.take(REFUSAL_MAX_BYTES).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    breakglass_model::visible(text.trim_end()).to_string()
}
