//! Runs one command over a warm connection.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::OutputStream;
use russh::client::Msg;
use russh::{Channel, ChannelWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use super::channel::{ChannelEnd, read_output};
use super::dial::Connection;
use super::error::{SshError, Stage};
use super::framed::{Framed, Script};
use super::pool::ConnectionPool;
use super::warm::{OpenFailure, Priority, WarmConnection};
use crate::lines::OutputLines;

/// Timeout for opening a channel on a connection; after it the connection counts as dead.
const CHANNEL_OPEN_TIMEOUT: Duration = Duration::from_secs(4);
/// Timeout for closing the channel of an abandoned command.
const CHANNEL_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Receives a command's lines. It is called between two reads of the channel, so it must not
/// wait: an unread channel would stall every other one of its connection.
pub(crate) type LineSink<'a> = &'a mut (dyn FnMut(OutputStream, &str) + Send);

/// Receives a command's output as it arrives, until it breaks; like [`LineSink`], it must not wait.
pub(crate) type ByteSink<'a> = &'a mut (dyn FnMut(OutputStream, &[u8]) -> ControlFlow<()> + Send);

/// A command to run on the other side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemoteCommand<'a> {
    pub(crate) command: &'a str,
    /// For all of it, from opening the channel to the exit status.
    pub(crate) timeout: Duration,
    pub(crate) priority: Priority,
}

impl ConnectionPool {
    /// Runs one command like [`ConnectionPool::exec_bytes`] and passes on its output line by line, with
    /// control characters made visible.
    pub(crate) async fn exec(
        &self,
        command: RemoteCommand<'_>,
        sink: LineSink<'_>,
    ) -> Result<Option<u32>, SshError> {
        let mut lines = OutputLines::default();
        let exit = self
            .exec_bytes(command, &mut |stream, bytes| {
                lines.push(stream, bytes, &mut *sink);
                ControlFlow::Continue(())
            })
            .await;
        lines.finish(sink);
        exit
    }

    /// Runs `script` through the account's login shell. Returns as soon as the end marker is read: a process
    /// that does not die can keep the channel open for longer.
    pub(crate) async fn exec_framed(
        &self,
        script: Script,
        timeout: Duration,
        priority: Priority,
    ) -> Result<(Option<u32>, Framed), SshError> {
        let mut framed = Framed::default();
        let command = framed.command(script);
        let command = RemoteCommand {
            command: &command,
            timeout,
            priority,
        };
        let exit = self
            .exec_bytes(command, &mut |stream, bytes| framed.push(stream, bytes))
            .await?;
        framed.finish();
        Ok((exit, framed))
    }

    /// Runs one command to its end or its timeout and returns its exit code; `None` if a signal ended it or
    /// the sink had enough. Dropping the future closes the channel.
    ///
    /// A warm connection that proves dead when the channel is opened is replaced once, at once:
    /// until then the command has not been sent.
    pub(crate) async fn exec_bytes(
        &self,
        command: RemoteCommand<'_>,
        sink: ByteSink<'_>,
    ) -> Result<Option<u32>, SshError> {
        let RemoteCommand {
            command,
            timeout,
            priority,
        } = command;
        let deadline = Instant::now() + timeout;
        let timed_out = |stage| SshError::TimedOut {
            endpoint: self.endpoint.clone(),
            stage,
            after: timeout,
        };
        let session = timeout_at(deadline, self.open(priority, deadline, timeout))
            .await
            .unwrap_or_else(|_| {
                Err(self
                    .crowded(priority, timeout)
                    .unwrap_or_else(|| timed_out(Stage::Opening)))
            })?;
        let running = session.connection.run(session.channel, command, sink);
        timeout_at(deadline, running)
            .await
            .map_err(|_| timed_out(Stage::Running))?
    }
}

impl WarmConnection {
    pub(super) async fn open_channel(
        &self,
        connection: &Arc<Connection>,
    ) -> Result<Channel<Msg>, OpenFailure> {
        let endpoint = self.endpoint.clone();
        let error = match timeout(CHANNEL_OPEN_TIMEOUT, connection.channel_open_session()).await {
            Ok(Ok(channel)) => return Ok(channel),
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => return Err(OpenFailure::SessionLimit),
            Ok(Err(error)) => SshError::Protocol {
                endpoint,
                cause: error.to_string(),
            },
            Err(_) => SshError::TimedOut {
                endpoint,
                stage: Stage::Opening,
                after: CHANNEL_OPEN_TIMEOUT,
            },
        };
        self.forget(connection).await;
        Err(OpenFailure::ConnectionLost(error))
    }

    /// Runs `command` in a new session to its end.
    async fn run(
        &self,
        channel: Channel<Msg>,
        command: &str,
        sink: ByteSink<'_>,
    ) -> Result<Option<u32>, SshError> {
        let (mut reading, writing) = channel.split();
        let mut writing = CloseOnDrop(Some(writing));
        let lost = || SshError::Lost {
            endpoint: self.endpoint.clone(),
            command: command.to_owned(),
        };
        if let Some(channel) = &writing.0 {
            channel.exec(true, command).await.map_err(|_| lost())?;
            // Nothing is ever sent to it: a command that reads its input sees the end.
            channel.eof().await.map_err(|_| lost())?;
        }
        match read_output(&mut reading, sink).await {
            ChannelEnd::Exited(code) => {
                writing.0 = None;
                Ok(code)
            }
            ChannelEnd::Stopped => Ok(None),
            ChannelEnd::Rejected => Err(SshError::Protocol {
                endpoint: self.endpoint.clone(),
                cause: "it does not run commands for this account".to_owned(),
            }),
            ChannelEnd::Closed => Err(lost()),
        }
    }
}

/// Closes the channel of a command that was abandoned.
struct CloseOnDrop(Option<ChannelWriteHalf<Msg>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let (Some(channel), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        // Bounded by its own timeout, so it needs no other owner.
        runtime.spawn(async move { timeout(CHANNEL_CLOSE_TIMEOUT, channel.close()).await });
    }
}
