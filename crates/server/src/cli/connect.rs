//! The `ProxyCommand` of the agent's SSH client: connects to a socket of the bastion and hands the
//! connection to the client (`ProxyUseFdpass yes`), so that no process stands between the two.

use std::io::{self, IoSlice};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The socket.
    socket: PathBuf,
}

pub(crate) fn run(args: &ConnectArgs) -> Result<Exit, Failure> {
    let failed = |error: io::Error| {
        let name = args.socket.file_name().unwrap_or_default().display();
        let why = match error.kind() {
            io::ErrorKind::NotFound => {
                "there is no such machine here, or the agent's conversation has ended".to_owned()
            }
            _ => error.to_string(),
        };
        Failure::new(Exit::Unreachable, format!("{name} can't be reached: {why}"))
    };
    hand_over(&args.socket).map_err(failed)?;
    Ok(Exit::Done)
}

/// Standard output is a socket of the client's, which takes one byte with a descriptor on it.
fn hand_over(socket: &Path) -> io::Result<()> {
    let stream = UnixStream::connect(socket)?;
    let descriptors = [stream.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let byte = [IoSlice::new(&[0])];
    let stdout = io::stdout();
    sendmsg(stdout.as_fd(), &byte, &mut ancillary, SendFlags::empty())?;
    Ok(())
}
