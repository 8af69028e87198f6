//! The first process inside a sandbox: it listens where the CLI expects guest, host and model, passes each
//! connection to the server, reaps zombies, watches the limits, and ends with the CLI. When it ends, the kernel
//! kills everything inside. Nothing inside can signal it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use breakglass_model::gateway::Destination;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, kill_process, set_dumpable_behavior,
    wait,
};

use super::handover::{pass_connection, report_swept, wait_for_sweep_order};
use super::options::{HOME, MODEL_PROXY, SOCKETS, WORK};
use super::{identity, limits, seccomp};
use crate::Account;
use crate::confinement::{Confinement, confine_thread};

/// Delay after a connection could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Maximum number of searches of one sweep: a process that forks during one is found in the next.
const SWEEP_ROUNDS_MAX: usize = 50;
const SWEEP_ROUND_DELAY: Duration = Duration::from_millis(5);
/// Exit codes of killed processes, as shells have them: this plus the signal's number.
const SIGNAL_EXIT_BASE: i32 = 128;

/// The first process's options.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The number of the inherited socket to the server.
    pub handover: RawFd,
    /// The account to take on, if root made the sandbox.
    pub account: Option<Account>,
    /// The guest's name; none if the CLI can reach no machine.
    pub guest: Option<String>,
    /// The host's name; none if the CLI can reach no machine.
    pub host: Option<String>,
    /// The CLI and its arguments.
    pub command: Vec<OsString>,
}

/// Runs the CLI until it ends; returns its exit code.
///
/// # Errors
/// The operating system's error. Then nothing runs.
pub fn run(options: &InitOptions) -> io::Result<i32> {
    let outside = Arc::new(inherited_socket(options.handover)?);
    let listeners = Listeners::bind(options)?;
    confine(options.account, || {
        std::env::set_current_dir(WORK)?;
        limits::make_room();
        Ok(())
    })?;
    listeners.serve(&outside)?;
    let (program, arguments) = options
        .command
        .split_first()
        .ok_or_else(|| io::Error::other("there is no command to run"))?;
    let child = Command::new(program).args(arguments).spawn()?.id();
    let kept = [std::process::id(), child];
    spawn(move || {
        while wait_for_sweep_order(&outside) {
            sweep(kept);
            report_swept(&outside);
        }
        end_with_server();
    })?;
    spawn(|| limits::watch(others))?;
    reap(child)
}

/// Only confines this process as the first one of a sandbox, to find out whether that is possible.
///
/// # Errors
/// The operating system's error.
pub fn confine_as_init(account: Option<Account>) -> io::Result<()> {
    confine(account, || Ok(()))
}

/// Takes on the agent's account and its limits, does `work`, and gives up what it will not need.
fn confine(account: Option<Account>, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if let Some(account) = account {
        identity::take_on(account)?;
    }
    limits::set();
    work()?;
    // Protects this process's memory from the CLI and its tools, which have the same account.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // All threads and children inherit both. Without Landlock, the namespaces still protect.
    confine_thread(&confinement())?;
    seccomp::apply()
}

/// The listening sockets inside.
struct Listeners {
    machines: Vec<(Destination, UnixListener)>,
    model: TcpListener,
}

impl Listeners {
    /// If root binds them, nothing inside can replace one.
    fn bind(options: &InitOptions) -> io::Result<Listeners> {
        let named = [
            (Destination::Guest, &options.guest),
            (Destination::Host, &options.host),
        ];
        let mut machines = vec![];
        for (destination, name) in named {
            if let Some(name) = name {
                let path = Path::new(SOCKETS).join(name);
                machines.push((destination, UnixListener::bind(&path)?));
                fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
            }
        }
        let model = TcpListener::bind(MODEL_PROXY)?;
        Ok(Listeners { machines, model })
    }

    fn serve(self, outside: &Arc<OwnedFd>) -> io::Result<()> {
        for (destination, listener) in self.machines {
            let outside = Arc::clone(outside);
            spawn(move || accept_all(&outside, destination, || Ok(listener.accept()?.0)))?;
        }
        let outside = Arc::clone(outside);
        let model = self.model;
        spawn(move || accept_all(&outside, Destination::Model, || Ok(model.accept()?.0)))
    }
}

#[allow(unsafe_code)]
fn inherited_socket(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::other(
            "a standard stream cannot be the socket to the server",
        ));
    }
    // SAFETY: the parent passed the number of a socket that it left open; this process has opened nothing yet
    // and takes the socket once.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    // The CLI does not inherit it.
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// The sockets of guest and host exist already and are not writable: nothing inside can replace them.
fn confinement() -> Confinement {
    Confinement {
        private: vec![],
        readable: vec![],
        writable: [HOME, WORK, "/tmp"].map(PathBuf::from).to_vec(),
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(drop)
}

fn accept_all<S: AsFd>(
    outside: &OwnedFd,
    destination: Destination,
    accept: impl Fn() -> io::Result<S>,
) {
    loop {
        match accept() {
            // If it can't be passed on, it is closed, and the client notices.
            Ok(stream) => drop(pass_connection(
                outside.as_fd(),
                destination,
                stream.as_fd(),
            )),
            Err(_) => thread::sleep(ACCEPT_RETRY_DELAY),
        }
    }
}

/// Needs no cleanup: when the first process of a namespace ends, the kernel kills all others.
#[allow(clippy::disallowed_methods)]
fn end_with_server() {
    std::process::exit(SIGNAL_EXIT_BASE);
}

/// Reaps every process that ends, as the first process of a namespace has to, until `child` ends.
fn reap(child: u32) -> io::Result<i32> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((id, status))) if id.as_raw_nonzero().get().unsigned_abs() == child => {
                return Ok(exit_code(status));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn exit_code(status: WaitStatus) -> i32 {
    let signalled = || {
        status
            .terminating_signal()
            .map(|signal| SIGNAL_EXIT_BASE + signal)
    };
    status
        .exit_status()
        .or_else(signalled)
        .unwrap_or(SIGNAL_EXIT_BASE)
}

/// Kills every process inside except `kept`.
fn sweep(kept: [u32; 2]) {
    for _ in 0..SWEEP_ROUNDS_MAX {
        let remaining: Vec<Pid> = others()
            .filter(|id| !kept.contains(id))
            .filter_map(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .collect();
        if remaining.is_empty() {
            return;
        }
        for process in remaining {
            let _ = kill_process(process, Signal::KILL);
        }
        thread::sleep(SWEEP_ROUND_DELAY);
    }
}

/// The ids of all other processes inside that are not zombies.
fn others() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let own = std::process::id();
    numbers.filter(move |id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let lives = stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']));
        lives && *id != own
    })
}
