//! Which processes are a child's: it, and whatever it has started, however far down.
//!
//! ```text
//!  connect ─▶ kernel notes the process ─▶ its parent ─▶ … ─▶ the child?  yes: it belongs
//!            (SO_PEERPIDFD: held, so its                 └─▶ process 1:  no
//!             number can't come to mean another)
//! ```
//! A child is made a subreaper before it runs, so what loses its parent falls to the child and not to
//! process 1, and is found as well. Nothing that a process may change about itself is asked: a session, a
//! group, a name or a variable can be anybody's.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::peer::{Peer, peer};

/// Parents that are looked at for one question. Nobody honest is that far down.
const CLIMB: usize = 512;
/// How often a question is asked anew because a process in between ended.
const TRIES: usize = 16;

/// A child and its descendants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    root: Id,
}

/// A number of a process together with when it was started, in ticks since the machine's start: together
/// they name one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id {
    pid: i32,
    started: u64,
}

/// What the kernel tells about a process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    id: Id,
    parent: i32,
    name: String,
}

/// A process that does not belong to a [`Family`], as part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    process: String,
    why: String,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.process, self.why)
    }
}

impl Family {
    /// The family of the process `pid`, which has to be a child of this one that is not reaped yet.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn of(pid: u32) -> io::Result<Family> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let root = look(pid)?.id;
        Ok(Family { root })
    }

    /// Whether the process that made the connection `stream`, a unix socket, belongs to it and still is
    /// there. Asks `/proc` about a bounded number of processes, and waits for nothing.
    ///
    /// # Errors
    /// Who it is and why it does not belong.
    pub fn admits(&self, stream: BorrowedFd<'_>) -> Result<(), Stranger> {
        let Peer { pid, held } = peer(stream).map_err(|error| {
            let why = match error.raw_os_error() {
                Some(libc::ESRCH | libc::ENODATA) => "it has ended already".to_owned(),
                _ => format!("the kernel does not tell which it is ({error})"),
            };
            stranger(None, 0, why)
        })?;
        let seen = look(pid);
        let name = seen.as_ref().ok().map(|look| look.name.clone());
        let fault = match self.holds(pid) {
            // What has ended may have given its number to another, which was looked at then.
            Ok(true) if is_alive(held.as_fd()) => return Ok(()),
            Ok(true) => "it has ended already".to_owned(),
            Ok(false) => "it is not of this incident's agent".to_owned(),
            Err(_) if !is_alive(held.as_fd()) => "it has ended already".to_owned(),
            Err(error) => format!(
                "its parents can't be looked at ({error}); /proc may not be mounted with hidepid"
            ),
        };
        Err(stranger(name, pid, fault))
    }

    fn holds(&self, pid: i32) -> io::Result<bool> {
        let mut answer = Err(io::Error::from(io::ErrorKind::NotFound));
        for _ in 0..TRIES {
            answer = self.climb(pid);
            match &answer {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => break,
            }
        }
        answer
    }

    /// Goes up from `pid`. Each step is sure: a process has its parent's number only while that parent
    /// lives, so where it has it still after the parent was looked at, no other process was looked at.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when a process on the way ended meanwhile.
    fn climb(&self, pid: i32) -> io::Result<bool> {
        let mut at = look(pid)?;
        for _ in 0..CLIMB {
            if at.id == self.root {
                return Ok(true);
            }
            if at.parent <= 1 {
                return Ok(false);
            }
            let parent = look(at.parent);
            let again = look(at.id.pid)?;
            if again.id != at.id {
                return Err(io::ErrorKind::NotFound.into());
            }
            at = match again.parent == at.parent {
                true => parent?,
                // Its parent ended; it has another one now.
                false => again,
            };
        }
        Ok(false)
    }
}

fn stranger(name: Option<String>, pid: i32, why: String) -> Stranger {
    let process = match name {
        Some(name) => format!("process {pid} ({name})"),
        None => "a process".to_owned(),
    };
    Stranger { process, why }
}

/// A held process that has ended is readable.
fn is_alive(held: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(&held, PollFlags::IN)];
    let at_once = Timespec::default();
    poll(&mut asked, Some(&at_once)).is_ok_and(|ready| ready == 0)
}

fn look(pid: i32) -> io::Result<Look> {
    let stat =
        fs::read(format!("/proc/{pid}/stat")).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
            _ => error,
        })?;
    parse(pid, &String::from_utf8_lossy(&stat))
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not as proc(5) has it")))
}

/// `PID (NAME) STATE PPID …`, see proc(5). A name may hold anything, also brackets.
fn parse(pid: i32, stat: &str) -> Option<Look> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let mut fields = after.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    let name = breakglass_model::visible(name).to_string();
    let id = Id { pid, started };
    Some(Look { id, parent, name })
}

#[cfg(test)]
mod tests;
