//! The first process inside a sandbox: it listens where the CLI expects its ways out, hands each
//! connection to the server, reaps, watches the bounds, and ends with the CLI. With its own end the
//! kernel ends everything inside, and nothing inside can signal it.

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

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, kill_process, set_dumpable_behavior,
    wait,
};

use super::handover::{hand_out, report_swept, wait_for_order};
use super::{HOME, MODEL_PROXY, WAYS, WORK};
use super::{bounds, identity, seccomp};
use crate::Account;
use crate::child::shut_in;
use crate::options::Walls;
use breakglass_model::gateway::Destination;

/// Pause after a connection that could not be accepted.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How often a sweep looks again for what forked meanwhile, and how long it pauses between.
const SWEEP_ROUNDS: usize = 50;
const SWEEP_PAUSE: Duration = Duration::from_millis(5);
/// What a shell adds to a signal's number to make an exit code.
const SIGNALLED: i32 = 128;

/// What the first process is told.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The number of the inherited socket over which connections are handed out.
    pub handover: RawFd,
    /// The account to become, where root made the sandbox.
    pub account: Option<Account>,
    /// The guest's name; none when no machine is to be reached.
    pub guest: Option<String>,
    /// The host's name, likewise.
    pub host: Option<String>,
    /// The CLI and its arguments.
    pub command: Vec<OsString>,
}

/// Runs the CLI until it ends; returns its exit code.
///
/// # Errors
/// What the operating system says. Nothing runs then.
pub fn run(options: &InitOptions) -> io::Result<i32> {
    let outside = Arc::new(inherited(options.handover)?);
    let listeners = Listeners::bind(options)?;
    confine(options.account, || {
        std::env::set_current_dir(WORK)?;
        bounds::make_room();
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
        while wait_for_order(&outside) {
            sweep(kept);
            report_swept(&outside);
        }
        end_with_server();
    })?;
    spawn(|| bounds::watch(others))?;
    reap(child)
}

/// Shuts this process in as the first one of a sandbox is, and nothing else: to try whether that can be done.
///
/// # Errors
/// What the operating system says.
pub fn try_walls(account: Option<Account>) -> io::Result<()> {
    confine(account, || Ok(()))
}

/// Becomes the agent's account, with its bounds, does `work` with that, and loses what it will not need.
fn confine(account: Option<Account>, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if let Some(account) = account {
        identity::become_one(account)?;
    }
    bounds::set();
    work()?;
    // The CLI and its tools have the same account: this keeps them from this process's memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // All threads and children inherit both. A kernel without Landlock leaves the other walls.
    shut_in(&walls())?;
    seccomp::apply()
}

/// Where the ways out begin inside.
struct Listeners {
    machines: Vec<(Destination, UnixListener)>,
    model: TcpListener,
}

impl Listeners {
    /// Binds them; where root does, nothing inside can put another in the place of one.
    fn bind(options: &InitOptions) -> io::Result<Listeners> {
        let named = [
            (Destination::Guest, &options.guest),
            (Destination::Host, &options.host),
        ];
        let mut machines = vec![];
        for (way, name) in named {
            if let Some(name) = name {
                let path = Path::new(WAYS).join(name);
                machines.push((way, UnixListener::bind(&path)?));
                fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
            }
        }
        let model = TcpListener::bind(MODEL_PROXY)?;
        Ok(Listeners { machines, model })
    }

    fn serve(self, outside: &Arc<OwnedFd>) -> io::Result<()> {
        for (way, listener) in self.machines {
            let outside = Arc::clone(outside);
            spawn(move || accept_all(&outside, way, || Ok(listener.accept()?.0)))?;
        }
        let (outside, model) = (Arc::clone(outside), self.model);
        spawn(move || accept_all(&outside, Destination::Model, || Ok(model.accept()?.0)))
    }
}

#[allow(unsafe_code)]
fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::other("a standard stream is no handover"));
    }
    // SAFETY: the number was given by who started this program and left the socket open for it;
    // nothing else here has opened anything yet, and it is taken once.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    // The CLI does not inherit it.
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// The sockets that lead to guest and host stand already: nothing inside puts others in their place.
fn walls() -> Walls {
    Walls {
        private: vec![],
        readable: vec![],
        writable: [HOME, WORK, "/tmp"].map(PathBuf::from).to_vec(),
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(drop)
}

fn accept_all<S: AsFd>(outside: &OwnedFd, way: Destination, accept: impl Fn() -> io::Result<S>) {
    loop {
        match accept() {
            // One that can't be handed out is closed, which its client sees.
            Ok(stream) => drop(hand_out(outside.as_fd(), way, stream.as_fd())),
            Err(_) => thread::sleep(ACCEPT_RETRY),
        }
    }
}

/// With the first process of a namespace the kernel ends all others; there is nothing to tidy up.
#[allow(clippy::disallowed_methods)]
fn end_with_server() {
    std::process::exit(SIGNALLED);
}

/// Reaps whatever ends, as the first process of a namespace has to, until `child` does.
fn reap(child: u32) -> io::Result<i32> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((id, status))) if id.as_raw_nonzero().get().unsigned_abs() == child => {
                return Ok(code(status));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn code(status: WaitStatus) -> i32 {
    let signalled = || status.terminating_signal().map(|signal| SIGNALLED + signal);
    status.exit_status().or_else(signalled).unwrap_or(SIGNALLED)
}

/// Kills every process inside but those that are `kept`.
fn sweep(kept: [u32; 2]) {
    for _ in 0..SWEEP_ROUNDS {
        let left: Vec<Pid> = others()
            .filter(|id| !kept.contains(id))
            .filter_map(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .collect();
        if left.is_empty() {
            return;
        }
        for one in left {
            let _ = kill_process(one, Signal::KILL);
        }
        thread::sleep(SWEEP_PAUSE);
    }
}

/// The numbers of all processes inside but this one that are no zombies.
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
