//! A child process that cannot outlive its use.
//!
//! Four things end it, each alone enough: [`Child::end`] and [`Child::kill`], dropping it, the
//! parent-death signal when the server dies, and at the next start a sweep of what is left. A
//! process group is not enough: the CLI runs each tool in a session of its own, and a tool
//! survives a killed CLI. So each child's environment carries a mark that all descendants inherit,
//! and a sweep kills whoever carries it.
//!
//! Whoever uses a child need not know where it runs: here, or behind a runner in another container
//! ([`crate::runner`]), which does the same for it there.

mod confine;
mod family;
mod launcher;
mod local;
mod peer;
mod stderr;
mod sweep;
mod walls;

pub(crate) use confine::forget_privileges;
pub(crate) use walls::shut_in;

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

pub use confine::without_privileges;
pub use family::{Family, Stranger};
pub(crate) use launcher::Launcher;
pub(crate) use local::Local;
pub(crate) use peer::account_of;

use crate::runner::Remote;
use crate::wire::RawLine;

/// The variable that marks a cell's processes.
pub(crate) const MARK: &str = "BREAKGLASS_CELL";

/// How the marks of all of a cell's processes begin.
pub(crate) fn mark_of(cell: &str) -> String {
    format!("{MARK}={cell}#")
}

/// A running child, here or behind a runner.
#[derive(Debug)]
pub(crate) enum Child {
    /// Of this process.
    Local(Box<Local>),
    /// Of a runner.
    Remote(Remote),
}

/// How a child ended.
#[derive(Debug)]
pub(crate) struct Exit {
    /// Its status, unless it could not be had in time.
    pub(crate) status: Option<ExitStatus>,
    /// The last lines that it printed on standard error.
    pub(crate) last_words: String,
    /// Why it is not known how it ended, in a sentence's part, where there is more to say than
    /// that it was not told in time.
    pub(crate) lost: Option<String>,
}

impl Child {
    /// Which processes are its own; none where a runner knows that.
    ///
    /// # Errors
    /// When the process can't be looked at.
    pub(crate) fn family(&self) -> io::Result<Option<Family>> {
        match self {
            Child::Local(child) => child.family().map(Some),
            Child::Remote(_) => Ok(None),
        }
    }

    /// The next line of standard output; none at its end. Cancel-safe.
    ///
    /// # Errors
    /// What the pipe says.
    pub(crate) async fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        match self {
            Child::Local(child) => child.next().await,
            Child::Remote(child) => child.next().await,
        }
    }

    /// Writes `text` to standard input.
    ///
    /// # Errors
    /// If the child has closed it, or does not read it in time.
    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        match self {
            Child::Local(child) => child.send(text.as_bytes()).await,
            Child::Remote(child) => child.send(text.as_bytes()).await,
        }
    }

    /// Closes standard input, waits up to `grace` for the child to end by itself, and then makes
    /// sure that nothing of it is left.
    pub(crate) async fn end(self, grace: Duration) -> Exit {
        match self {
            Child::Local(child) => child.end(grace).await,
            Child::Remote(child) => child.end(grace).await,
        }
    }

    /// Kills the child's process group, reaps it, and kills what it started elsewhere.
    pub(crate) async fn kill(self) -> Exit {
        match self {
            Child::Local(child) => child.kill().await,
            Child::Remote(child) => child.kill().await,
        }
    }

    /// Kills everything that the child started and that still runs, but not the child.
    pub(crate) async fn kill_descendants(&self) {
        match self {
            Child::Local(child) => child.kill_descendants().await,
            Child::Remote(child) => child.kill_descendants().await,
        }
    }
}

impl Exit {
    /// How it ended, in a few words and its own; `otherwise` where nothing is known.
    pub(crate) fn describe(&self, otherwise: &str) -> String {
        let status = match (&self.lost, self.status) {
            (Some(lost), _) => lost.clone(),
            (None, Some(status)) => status.to_string(),
            (None, None) => otherwise.to_owned(),
        };
        match self.last_words.as_str() {
            "" => status,
            words => format!("{status}; its last words: {words}"),
        }
    }
}
