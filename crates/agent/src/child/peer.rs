//! The process at the other end of a unix socket, held so that its number keeps its meaning.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// `SO_PEERPIDFD` of Linux 6.5, as all architectures but PA-RISC and SPARC have it.
const PEER_PIDFD: libc::c_int = 77;

/// The process that connected.
pub(super) struct Peer {
    /// Its number, as this process would call it.
    pub(super) pid: i32,
    /// Readable once it has ended.
    pub(super) held: OwnedFd,
}

/// Who connected `stream`.
///
/// # Errors
/// What the kernel says; ESRCH where the process is in no namespace that this one sees, or has ended.
pub(super) fn peer(stream: BorrowedFd<'_>) -> io::Result<Peer> {
    let told = credentials(stream)?;
    // Of a process in a namespace that this one does not see, the number is 0.
    let pid = Pid::from_raw(told.pid).ok_or(rustix::io::Errno::SRCH)?;
    let mut held: RawFd = -1;
    let held = match option(stream, PEER_PIDFD, &mut held) {
        // SAFETY: the kernel has just made this descriptor for the caller, and nothing else knows it.
        Ok(()) => unsafe { OwnedFd::from_raw_fd(held) },
        // An older kernel: the number, which another process may have since it connected.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
            pidfd_open(pid, PidfdFlags::empty())?
        }
        Err(error) => return Err(error),
    };
    Ok(Peer {
        pid: told.pid,
        held,
    })
}

/// The account of the process at the other end. Of a listening one, the account that it listened with.
///
/// # Errors
/// What the kernel says.
pub(crate) fn account_of(stream: BorrowedFd<'_>) -> io::Result<u32> {
    credentials(stream).map(|told| told.uid)
}

/// Not by rustix, whose `Pid` has no value for a process of another container: the kernel says 0.
fn credentials(stream: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut told = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    option(stream, libc::SO_PEERCRED, &mut told)?;
    Ok(told)
}

fn option<T: Copy>(stream: BorrowedFd<'_>, name: libc::c_int, value: &mut T) -> io::Result<()> {
    let size = size_of::<T>();
    let mut length = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: `value` is a plain value of the option's type and `length` its size, so the kernel writes
    // within it; the descriptor is borrowed for the call.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_mut(value).cast(),
            &raw mut length,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
