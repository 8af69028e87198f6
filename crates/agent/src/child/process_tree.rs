//! Whether a process is a child or one of its descendants.
//!
//! ```text
//!  connect ─▶ kernel notes the process ─▶ its parent ─▶ … ─▶ the child?  yes: it is in the tree
//!            (SO_PEERPIDFD: held, so its                 └─▶ process 1:  no
//!             id can't be reused)
//! ```
//! A child is a subreaper before it runs, so its orphaned descendants become its own children and not those of
//! process 1, and are found too. Nothing that a process can change about itself counts: any process can set a
//! session, a group, a name or a variable.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::peer::{Peer, peer};

/// Maximum number of ancestors to examine; the CLI's descendants are far fewer levels deep.
const ANCESTORS_MAX: usize = 512;
/// Maximum number of attempts if an ancestor ends meanwhile.
const ATTEMPTS_MAX: usize = 16;

/// A child and its descendants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessTree {
    root: ProcessId,
}

/// A process id together with the start time, in ticks since boot: together they identify one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ProcessId {
    pid: i32,
    started: u64,
}

/// The state of a process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProcessStat {
    id: ProcessId,
    parent: i32,
    name: String,
}

/// Why a process is not in a [`ProcessTree`]. Displays as part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotInTree {
    process: String,
    reason: String,
}

impl fmt::Display for NotInTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.process, self.reason)
    }
}

impl ProcessTree {
    /// The tree of the process `pid`, which has to be a child of this process that is not reaped yet.
    ///
    /// # Errors
    /// If the process can't be examined.
    pub fn of(pid: u32) -> io::Result<ProcessTree> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let root = read_stat(pid)?.id;
        Ok(ProcessTree { root })
    }

    /// Checks that the process that connected `stream`, a unix socket, is in the tree and still running. Reads
    /// `/proc` for a bounded number of processes, and waits for nothing.
    ///
    /// # Errors
    /// The process, and why it is not in the tree.
    pub fn check_peer(&self, stream: BorrowedFd<'_>) -> Result<(), NotInTree> {
        let Peer { pid, pidfd } = peer(stream).map_err(|error| {
            let reason = match error.raw_os_error() {
                Some(libc::ESRCH | libc::ENODATA) => "it has ended already".to_owned(),
                _ => format!("the kernel does not tell which process it is ({error})"),
            };
            let process = "a process".to_owned();
            NotInTree { process, reason }
        })?;
        let process = match read_stat(pid) {
            Ok(stat) => format!("process {pid} ({})", stat.name),
            Err(_) => "a process".to_owned(),
        };
        let reason = match self.contains(pid) {
            // If it has ended, its id may have been reused, and the other process was examined.
            Ok(true) if is_running(pidfd.as_fd()) => return Ok(()),
            Ok(true) => "it has ended already".to_owned(),
            Ok(false) => "it is not a process of this incident's agent".to_owned(),
            Err(_) if !is_running(pidfd.as_fd()) => "it has ended already".to_owned(),
            Err(error) => format!(
                "its parents can't be examined ({error}); /proc may not be mounted with hidepid"
            ),
        };
        Err(NotInTree { process, reason })
    }

    fn contains(&self, pid: i32) -> io::Result<bool> {
        let mut answer = Err(io::ErrorKind::NotFound.into());
        for _ in 0..ATTEMPTS_MAX {
            answer = self.has_ancestor_at_root(pid);
            match &answer {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => break,
            }
        }
        answer
    }

    /// Goes up from `pid`. A process has its parent's id only while that parent lives: if it still has the same
    /// parent after the parent was examined, it was really the parent that was examined.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if an examined process ended meanwhile.
    fn has_ancestor_at_root(&self, pid: i32) -> io::Result<bool> {
        let mut current = read_stat(pid)?;
        for _ in 0..ANCESTORS_MAX {
            if current.id == self.root {
                return Ok(true);
            }
            if current.parent <= 1 {
                return Ok(false);
            }
            let parent = read_stat(current.parent);
            let again = read_stat(current.id.pid)?;
            if again.id != current.id {
                return Err(io::ErrorKind::NotFound.into());
            }
            current = if again.parent == current.parent {
                parent?
            } else {
                // Its parent ended; it has another one now.
                again
            };
        }
        Ok(false)
    }
}

/// The descriptor of a process becomes readable when the process ends.
fn is_running(pidfd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready == 0)
}

fn read_stat(pid: i32) -> io::Result<ProcessStat> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read(&path).map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    })?;
    parse_stat(pid, &String::from_utf8_lossy(&stat))
        .ok_or_else(|| io::Error::other(format!("{path} is not in the format of proc(5)")))
}

/// `PID (NAME) STATE PPID …`, see proc(5). A name may contain anything, including brackets.
fn parse_stat(pid: i32, stat: &str) -> Option<ProcessStat> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let mut fields = after.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    let name = breakglass_model::visible(name).to_string();
    let id = ProcessId { pid, started };
    Some(ProcessStat { id, parent, name })
}

#[cfg(test)]
mod tests;
