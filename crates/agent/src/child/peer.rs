//! The process at the other end of a unix socket, held by a descriptor so that its id stays valid.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Since Linux 6.5; the value on all architectures but PA-RISC and SPARC.
const SO_PEERPIDFD: libc::c_int = 77;

/// The process that connected.
pub(super) struct Peer {
    /// Its process id in this namespace.
    pub(super) pid: i32,
    /// Readable once it has ended.
    pub(super) pidfd: OwnedFd,
}

/// The process that connected `stream`.
///
/// # Errors
/// The kernel's error; `ESRCH` if the process has ended, or is in a namespace that is not visible here.
pub(super) fn peer(stream: BorrowedFd<'_>) -> io::Result<Peer> {
    let credentials = credentials(stream)?;
    // 0 stands for a process in a namespace that is not visible here.
    let pid = Pid::from_raw(credentials.pid).ok_or(rustix::io::Errno::SRCH)?;
    let mut raw: RawFd = -1;
    let pidfd = match option(stream, SO_PEERPIDFD, &mut raw) {
        // SAFETY: the kernel has just made this descriptor for the caller, and nothing else knows it.
        Ok(()) => unsafe { OwnedFd::from_raw_fd(raw) },
        // An older kernel: open it by its id, which may belong to another process by now.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
            pidfd_open(pid, PidfdFlags::empty())?
        }
        Err(error) => return Err(error),
    };
    Ok(Peer {
        pid: credentials.pid,
        pidfd,
    })
}

/// The uid of the process at the other end; of a listening process, the uid that it called `listen` with.
///
/// # Errors
/// The kernel's error.
pub(crate) fn peer_uid(stream: BorrowedFd<'_>) -> io::Result<u32> {
    credentials(stream).map(|credentials| credentials.uid)
}

/// Without rustix: its `Pid` can't be 0, as the kernel reports it for a process of another container.
fn credentials(stream: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    option(stream, libc::SO_PEERCRED, &mut credentials)?;
    Ok(credentials)
}

fn option<T: Copy>(stream: BorrowedFd<'_>, name: libc::c_int, value: &mut T) -> io::Result<()> {
    let size = size_of::<T>();
    let mut length = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
    // SAFETY: `value` is a plain value of the option's type and `length` its size, so the kernel writes
    // within it; the descriptor is borrowed for the call.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_mut(value).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
