//! What a child does to itself between fork and exec.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{
    Gid, Pid, Resource, Rlimit, Signal, Uid, chdir, getpid, getppid, set_child_subreaper,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use tokio::process::Command;

use crate::account::Account;

/// Files that may be open at once.
const FILES: u64 = 4096;
/// The largest file, in bytes: what fetches a core dump fits, what fills a disk for nothing less.
const FILE_BYTES: u64 = 4 << 30;
/// Processes and threads of an account of its own; the CLI itself has about 30.
const PROCESSES: u64 = 1024;

/// What a child gets that makes a sandbox.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passage {
    /// The number of what it inherits besides its standard streams, which stays open until it runs.
    pub(super) inherited: Option<RawFd>,
    /// It keeps the server's capabilities, and gives them up itself.
    pub(super) privileged: bool,
}

/// The child dies with the thread that spawned it, has no capability and gains none, dumps no core
/// (its memory holds the model's key), has bounds, and becomes `account` if there is one. What it starts
/// stays its own whatever becomes of the parents in between; it is kept `apart` from other children.
/// What makes it a sandbox gets its `passage`.
///
/// # Errors
/// If the name of its working directory can't be one.
pub(super) fn confine(
    command: &mut Command,
    account: Option<Account>,
    apart: Option<OwnedFd>,
    passage: Passage,
) -> io::Result<()> {
    let parent = getpid();
    let dir = account.and(command.as_std().get_current_dir());
    let dir = dir
        .map(|dir| CString::new(dir.as_os_str().as_bytes()))
        .transpose()?;
    if dir.is_some() {
        // The account's own directory is open to it alone: it is entered as that account, below.
        command.current_dir("/");
    }
    let apply = move || -> io::Result<()> {
        set_no_new_privs(true)?;
        // Kept through exec, and not inherited.
        set_child_subreaper(Some(parent))?;
        if let Some(rules) = &apart {
            shut_in(rules.as_fd())?;
        }
        limit(account.is_some());
        if !passage.privileged {
            forget_privileges(account)?;
        }
        if let Some(dir) = &dir {
            chdir(dir.as_c_str())?;
        }
        passage.inherited.map_or(Ok(()), inherit)?;
        // Last: the kernel forgets it whenever the ids or the capabilities change.
        die_with(parent)
    };
    // SAFETY: the closure runs in the forked child of a process with many threads, where only
    // async-signal-safe calls are allowed. It makes nothing but direct system calls (prctl, capset,
    // landlock_restrict_self, setgroups, setresgid, setresuid, chdir, getppid, prlimit) that change the one thread there is,
    // allocates nothing and takes no lock: `getpid` ran before the fork, and both ways to an
    // `io::Error` only store the error's number.
    unsafe {
        command.pre_exec(apply);
    }
    Ok(())
}

/// The child has no capability, and becomes `account` if there is one.
pub fn without_privileges(command: &mut std::process::Command, account: Option<Account>) {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: as above: direct system calls that change the one thread of the forked child.
    unsafe {
        command.pre_exec(move || forget_privileges(account));
    }
}

/// Puts the calling thread into walls of its own, by rules that were made before the fork.
fn shut_in(rules: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes a descriptor, which is borrowed, and a number, and touches no memory.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Leaves what has this number open for the program that is executed.
fn inherit(number: RawFd) -> io::Result<()> {
    // SAFETY: who gave the number keeps it open until the child runs, and this child has a table of
    // its own.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?)
}

fn die_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == Some(parent) {
        return Ok(());
    }
    // The parent died before the signal was set, so it will never come.
    Err(io::Error::from_raw_os_error(
        rustix::io::Errno::SRCH.raw_os_error(),
    ))
}

/// Each bound fails where the hard limit is lower already, which is as good. Processes are counted
/// by account: one that is shared with others has its own number of them.
fn limit(own_account: bool) {
    let bounds = [
        (Resource::Core, 0),
        (Resource::Nofile, FILES),
        (Resource::Fsize, FILE_BYTES),
    ];
    let processes = own_account.then_some((Resource::Nproc, PROCESSES));
    for (resource, most) in bounds.into_iter().chain(processes) {
        let most = Some(most);
        let _ = setrlimit(
            resource,
            Rlimit {
                current: most,
                maximum: most,
            },
        );
    }
}

/// Drops every capability from every set, so that root's agent is no more than a user whose files
/// are root's, and takes on `account`.
pub(crate) fn forget_privileges(account: Option<Account>) -> io::Result<()> {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        // Ends at the kernel's last one, or at once for a server that may not: the permitted set
        // is emptied below, and without new privileges an exec adds nothing to that.
        if remove_capability_from_bounding_set(one).is_err() {
            break;
        }
    }
    // Kernels before 4.3 have no such set.
    let _ = clear_ambient_capability_set();
    if let Some(account) = account {
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    Ok(())
}
