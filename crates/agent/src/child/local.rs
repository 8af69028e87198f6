//! A process of this machine.

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::confine::Passage;
use super::launcher::Launcher;
use super::stderr::Tail;
use super::{Exit, Family, MARK, mark_of};
use crate::sandbox::{Boxed, Connected, Inside};
use crate::wire::{Lines, RawLine};

/// How long a child may take to read what it is sent.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How long the kernel may take to end a killed process.
const REAP_LIMIT: Duration = Duration::from_secs(5);

/// A child of this process. Its standard streams are pipes.
#[derive(Debug)]
pub(crate) struct Local {
    inner: tokio::process::Child,
    stdin: Option<ChildStdin>,
    lines: Lines<ChildStdout>,
    stderr: Tail,
    mark: String,
    launcher: Launcher,
    /// Nothing of it is left to be swept up.
    swept: bool,
    /// Its sandbox, if it has one.
    inside: Option<Inside>,
}

impl Local {
    /// Starts `command`, whose processes are marked as belonging to `cell`.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) async fn spawn(
        launcher: &Launcher,
        command: Command,
        cell: &str,
    ) -> io::Result<Local> {
        Local::start(launcher, command, cell, Passage::default()).await
    }

    /// Starts a command in its sandbox, likewise; `connected` takes the connections that are made inside.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) async fn spawn_boxed(
        launcher: &Launcher,
        boxed: Boxed,
        cell: &str,
        connected: Connected,
    ) -> io::Result<Local> {
        let passage = Passage {
            inherited: Some(boxed.inside.as_raw_fd()),
            privileged: boxed.privileged,
        };
        let mut local = Local::start(launcher, boxed.command, cell, passage).await?;
        // Ours is closed now: when the sandbox goes, its end of the handover is the last one.
        drop(boxed.inside);
        local.inside = Some(Inside::watch(boxed.outside, connected));
        Ok(local)
    }

    async fn start(
        launcher: &Launcher,
        mut command: Command,
        cell: &str,
        passage: Passage,
    ) -> io::Result<Local> {
        let mark = format!("{}{}", mark_of(cell), uuid::Uuid::new_v4());
        command.env(MARK, &mark[MARK.len() + 1..]);
        let mut inner = launcher.spawn(command, passage).await?;
        let (Some(stdout), Some(stderr)) = (inner.stdout.take(), inner.stderr.take()) else {
            return Err(io::Error::other("the child has no pipes"));
        };
        Ok(Local {
            stdin: inner.stdin.take(),
            lines: Lines::new(stdout),
            stderr: Tail::follow(stderr),
            inner,
            mark,
            launcher: launcher.clone(),
            swept: false,
            inside: None,
        })
    }

    /// Which processes are its own.
    ///
    /// # Errors
    /// When it can't be looked at, or is reaped already.
    pub(crate) fn family(&self) -> io::Result<Family> {
        let id = self.inner.id().ok_or(io::ErrorKind::NotFound)?;
        Family::of(id)
    }

    /// The next line of standard output; none at its end. Cancel-safe.
    ///
    /// # Errors
    /// What the pipe says.
    pub(crate) async fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        self.lines.next().await
    }

    /// Writes `bytes` to standard input.
    ///
    /// # Errors
    /// If the child has closed it, or does not read it in time.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        timeout(WRITE_LIMIT, stdin.write_all(bytes))
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Closes standard input, waits up to `grace` for the child to end by itself, and then makes
    /// sure that nothing of it is left.
    pub(crate) async fn end(mut self, grace: Duration) -> Exit {
        self.stdin = None;
        let drained = async { while let Ok(Some(_)) = self.lines.next().await {} };
        let _ = timeout(grace, drained).await;
        let _ = timeout(grace, self.inner.wait()).await;
        self.kill().await
    }

    /// Kills the child's process group, reaps it, and kills what it started elsewhere.
    pub(crate) async fn kill(mut self) -> Exit {
        self.signal();
        let status = timeout(REAP_LIMIT, self.inner.wait())
            .await
            .ok()
            .and_then(Result::ok);
        self.launcher.sweep(self.mark.clone(), None).await;
        self.swept = true;
        Exit {
            status,
            last_words: self.stderr.last_words().await,
            lost: None,
        }
    }

    /// Kills everything that the child started and that still runs, but not the child.
    pub(crate) async fn kill_descendants(&self) {
        if let Some(inside) = &self.inside {
            return inside.sweep().await;
        }
        let keep = self.inner.id().and_then(|id| i32::try_from(id).ok());
        self.launcher.sweep(self.mark.clone(), keep).await;
    }

    /// SIGKILL to the group, unless its leader is reaped and the number may name another.
    fn signal(&self) {
        let id = self.inner.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // Fails only if the group is gone already, which is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.signal();
        if !self.swept {
            self.launcher.sweep_later(self.mark.clone());
        }
    }
}
