//! The agent's process, which dies with the bridge, however that ends.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use tokio::process::{Child, Command};

/// Starts the agent with all standard streams piped, in the bridge's process group. Call it from the thread that
/// lives as long as the bridge: the agent dies with that thread.
///
/// # Errors
/// The operating system's error.
pub(crate) fn start(command: &[OsString]) -> io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let bridge = getpid();
    // SAFETY: the closure runs in the forked child, where only async-signal-safe calls are allowed. It
    // makes two direct system calls (prctl, getppid), allocates nothing and takes no lock; an `io::Error`
    // here only stores the error's number.
    unsafe {
        command.pre_exec(move || die_with(bridge));
    }
    command.spawn()
}

fn die_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == Some(parent) {
        return Ok(());
    }
    // The bridge died before the signal was set, so it will never come.
    Err(io::Error::from_raw_os_error(
        rustix::io::Errno::SRCH.raw_os_error(),
    ))
}
