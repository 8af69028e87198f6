//! What a child does to itself between fork and exec.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, chdir, getpid, getppid, set_child_subreaper,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::set_no_new_privs;
use tokio::process::Command;

use crate::account::Account;
use crate::privileges::drop_privileges;

/// Maximum number of open files.
const OPEN_FILES_MAX: u64 = 4096;
/// Maximum size of a file, in bytes: enough for a core dump that the agent fetches, too little to fill a disk.
const FILE_MAX_BYTES: u64 = 4 << 30;
/// Maximum number of processes and threads of an account of its own; the CLI itself has about 30.
const PROCESSES_MAX: u64 = 1024;

/// What only the child that makes a sandbox gets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SandboxSetup {
    /// The descriptor that it inherits besides its standard streams. The caller keeps it open until exec.
    pub(super) inherited: Option<RawFd>,
    /// It keeps the server's capabilities, and gives them up itself.
    pub(super) privileged: bool,
}

/// The child dies with the thread that spawned it, has no capability and gains none, writes no core dump (its
/// memory holds the model's key), has resource limits, and becomes `account` if there is one. It is a subreaper:
/// its descendants stay below it whatever parents in between end. `isolation` separates it from other children.
///
/// # Errors
/// If its working directory has a name that can't be passed to the kernel.
pub(super) fn prepare(
    command: &mut Command,
    account: Option<Account>,
    isolation: Option<OwnedFd>,
    setup: SandboxSetup,
) -> io::Result<()> {
    let parent = getpid();
    let dir = account.and(command.as_std().get_current_dir());
    let dir = dir
        .map(|dir| CString::new(dir.as_os_str().as_bytes()))
        .transpose()?;
    if dir.is_some() {
        // Only the account can enter its own directory: it does so below.
        command.current_dir("/");
    }
    let apply = move || -> io::Result<()> {
        set_no_new_privs(true)?;
        // Kept through exec, and not inherited.
        set_child_subreaper(Some(parent))?;
        if let Some(rules) = &isolation {
            restrict_self(rules.as_fd())?;
        }
        set_limits(account.is_some());
        if !setup.privileged {
            drop_privileges(account)?;
        }
        if let Some(dir) = &dir {
            chdir(dir.as_c_str())?;
        }
        setup.inherited.map_or(Ok(()), inherit)?;
        // Last: the kernel forgets it whenever ids or capabilities change.
        die_with(parent)
    };
    // SAFETY: the closure runs in the forked child of a process with many threads, where only
    // async-signal-safe calls are allowed. It makes only direct system calls (prctl, capset,
    // landlock_restrict_self, setgroups, setresgid, setresuid, chdir, getppid, prlimit) that change the child's
    // only thread, allocates nothing and takes no lock: `getpid` ran before the fork, and an `io::Error` here
    // only stores the error's number.
    unsafe {
        command.pre_exec(apply);
    }
    Ok(())
}

/// Applies Landlock rules that were made before the fork to the calling thread.
fn restrict_self(rules: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes a descriptor, which is borrowed, and a number, and touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Keeps a descriptor open through exec.
fn inherit(number: RawFd) -> io::Result<()> {
    // SAFETY: the caller keeps the descriptor open until exec, and this child has its own descriptor table.
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

/// A limit can't be set if the hard limit is already lower: ignore the error. Processes are counted per account,
/// so only an account that nothing else uses gets a limit for them.
fn set_limits(own_account: bool) {
    let limits = [
        (Resource::Core, 0),
        (Resource::Nofile, OPEN_FILES_MAX),
        (Resource::Fsize, FILE_MAX_BYTES),
    ];
    let processes = own_account.then_some((Resource::Nproc, PROCESSES_MAX));
    for (resource, maximum) in limits.into_iter().chain(processes) {
        let limit = Rlimit {
            current: Some(maximum),
            maximum: Some(maximum),
        };
        let _ = setrlimit(resource, limit);
    }
}
