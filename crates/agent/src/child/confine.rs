//! The one place of this crate that needs `unsafe`: what a child does to itself between fork and
//! exec.
#![allow(unsafe_code)]

use std::io;

use rustix::process::{
    Resource, Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::set_no_new_privs;
use tokio::process::Command;

/// The child dies with the thread that spawned it, never gains privileges, dumps no core (its
/// memory holds the model's key), and opens a sane number of files.
pub(super) fn confine(command: &mut Command) {
    let parent = getpid();
    let apply = move || -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            // The parent died before the signal was set, so it will never come.
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::SRCH.raw_os_error(),
            ));
        }
        set_no_new_privs(true)?;
        setrlimit(
            Resource::Core,
            Rlimit {
                current: Some(0),
                maximum: Some(0),
            },
        )?;
        // Fails where the hard limit is lower already, which is as good.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(4096),
                maximum: Some(4096),
            },
        );
        Ok(())
    };
    // SAFETY: the closure runs in the forked child of a process with many threads, where only
    // async-signal-safe calls are allowed. It makes nothing but direct system calls (prctl,
    // getppid, setrlimit), allocates nothing and takes no lock: `getpid` ran before the fork, and
    // both ways to an `io::Error` only store the error's number.
    unsafe {
        command.pre_exec(apply);
    }
}
