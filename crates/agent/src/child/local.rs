//! One running child: its standard streams, its end, its sandbox.

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::exit::Exit;
use super::pre_exec::SandboxSetup;
use super::process_tree::ProcessTree;
use super::spawner::Spawner;
use super::stderr::Tail;
use super::sweep::{MARK, mark_prefix};
use crate::sandbox::{Connected, HandoverSockets, RunningSandbox};
use crate::wire::{Lines, RawLine};

/// Maximum time for the child to read what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time for the kernel to end a killed process.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);

/// A child of this process, whose standard streams are pipes.
#[derive(Debug)]
pub(crate) struct LocalChild {
    inner: tokio::process::Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<ChildStdout>,
    stderr: Tail,
    mark: String,
    spawner: Spawner,
    is_swept: bool,
    sandbox: Option<RunningSandbox>,
}

/// What a command needs that makes a sandbox.
pub(crate) struct SandboxedCommand {
    pub(crate) sockets: HandoverSockets,
    /// The command keeps the server's capabilities, and drops them once the sandbox is made.
    pub(crate) privileged: bool,
    /// Receives the connections that are made inside.
    pub(crate) connected: Connected,
}

impl LocalChild {
    /// Starts `command`, whose processes are marked as belonging to `cell`.
    ///
    /// # Errors
    /// The operating system's error.
    pub(crate) async fn spawn(
        spawner: &Spawner,
        mut command: Command,
        sandbox: Option<SandboxedCommand>,
        cell: &str,
    ) -> io::Result<LocalChild> {
        let mark = format!("{}{}", mark_prefix(cell), uuid::Uuid::new_v4());
        command.env(MARK, &mark[MARK.len() + 1..]);
        let setup = sandbox
            .as_ref()
            .map_or_else(SandboxSetup::default, |sandbox| SandboxSetup {
                inherited: Some(sandbox.sockets.inside.as_raw_fd()),
                privileged: sandbox.privileged,
            });
        let mut inner = spawner.spawn(command, setup).await?;
        let (Some(stdout), Some(stderr)) = (inner.stdout.take(), inner.stderr.take()) else {
            return Err(io::Error::other("the child has no pipes"));
        };
        // Closes our copy of the inner socket, so that the outer one ends with the sandbox.
        let sandbox = sandbox
            .map(|sandbox| RunningSandbox::serve(sandbox.sockets.outside, sandbox.connected));
        Ok(LocalChild {
            stdin: inner.stdin.take(),
            stdout: Lines::new(stdout),
            stderr: Tail::follow(stderr),
            inner,
            mark,
            spawner: spawner.clone(),
            is_swept: false,
            sandbox,
        })
    }

    /// The child with all its descendants.
    ///
    /// # Errors
    /// If it can't be examined, or has been reaped.
    pub(crate) fn process_tree(&self) -> io::Result<ProcessTree> {
        let id = self.inner.id().ok_or(io::ErrorKind::NotFound)?;
        ProcessTree::of(id)
    }

    /// The next line of standard output; none at its end. Cancel-safe.
    ///
    /// # Errors
    /// The pipe's error.
    pub(crate) async fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        self.stdout.next().await
    }

    /// The next bytes of standard output; empty at its end. Cancel-safe.
    ///
    /// # Errors
    /// The pipe's error.
    pub(crate) async fn next_chunk(&mut self) -> io::Result<Bytes> {
        self.stdout.next_chunk().await
    }

    /// Writes `bytes` to standard input.
    ///
    /// # Errors
    /// If the child has closed it, or does not read it in time.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        timeout(WRITE_TIMEOUT, stdin.write_all(bytes))
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Closes standard input, waits up to `grace` for the child to exit by itself, and then kills whatever is
    /// left.
    pub(crate) async fn end(mut self, grace: Duration) -> Exit {
        self.stdin = None;
        let drained = async { while let Ok(Some(_)) = self.stdout.next().await {} };
        let _ = timeout(grace, drained).await;
        let _ = timeout(grace, self.inner.wait()).await;
        self.kill().await
    }

    /// Kills the child's process group, reaps it, and kills what it started elsewhere.
    pub(crate) async fn kill(mut self) -> Exit {
        self.kill_group();
        let status = timeout(REAP_TIMEOUT, self.inner.wait())
            .await
            .ok()
            .and_then(Result::ok);
        self.spawner.sweep(self.mark.clone(), None).await;
        self.is_swept = true;
        Exit {
            status,
            last_words: self.stderr.last_lines().await,
            unknown_because: None,
        }
    }

    /// Kills every running process that the child started, but not the child.
    pub(crate) async fn kill_descendants(&self) {
        if let Some(sandbox) = &self.sandbox {
            return sandbox.sweep().await;
        }
        self.spawner.sweep(self.mark.clone(), self.id()).await;
    }

    /// None once it is reaped: then the number may belong to another process.
    fn id(&self) -> Option<i32> {
        self.inner.id().and_then(|id| i32::try_from(id).ok())
    }

    fn kill_group(&self) {
        if let Some(group) = self.id().and_then(Pid::from_raw) {
            // Fails only if the group is gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for LocalChild {
    fn drop(&mut self) {
        self.kill_group();
        if !self.is_swept {
            self.spawner.sweep_later(self.mark.clone());
        }
    }
}
