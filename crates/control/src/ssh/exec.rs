//! One command over a warm connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use breakglass_journal::OutputStream;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::dial::Connection;
use super::error::{SshError, Stage};
use super::frame::{Framed, Script};
use super::pool::{Link, Urgency};
use crate::text::Lines;

/// Longest wait for a channel on a connection that stands; after it the connection counts as dead.
const OPEN_LIMIT: Duration = Duration::from_secs(4);
/// Longest wait for the goodbye of a channel that is given up.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// `SSH_EXTENDED_DATA_STDERR` of RFC 4254.
pub(super) const STDERR: u32 = 1;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// With this exit code.
    Code(u32),
    /// By a signal, or without saying how.
    Abnormal,
}

/// What takes a command's lines. It is called between two reads of the channel, so it must not
/// wait: an unread channel would stall every other one of its connection.
pub(crate) type Sink<'a> = &'a mut (dyn FnMut(OutputStream, &str) + Send);

/// What takes a command's bytes as they come; otherwise like [`Sink`].
pub(crate) type RawSink<'a> = &'a mut (dyn FnMut(OutputStream, &[u8]) + Send);

/// What to run, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) command: &'a str,
    pub(crate) deadline: Duration,
    pub(crate) urgency: Urgency,
}

impl Link {
    /// Runs one command like [`Link::exec_raw`]; hands out its output line by line, made harmless.
    pub(crate) async fn exec(&self, order: Order<'_>, sink: Sink<'_>) -> Result<Exit, SshError> {
        let (mut stdout, mut stderr) = (Lines::default(), Lines::default());
        let mut cut = |stream: OutputStream, bytes: &[u8]| match stream {
            OutputStream::Stdout => stdout.push(bytes, &mut |line| sink(stream, line)),
            OutputStream::Stderr => stderr.push(bytes, &mut |line| sink(stream, line)),
        };
        let exit = self.exec_raw(order, &mut cut).await;
        stdout.finish(&mut |line| sink(OutputStream::Stdout, line));
        stderr.finish(&mut |line| sink(OutputStream::Stderr, line));
        exit
    }

    /// Runs a script of the login shell's account like [`Link::exec`], and hears what stands between
    /// its marks. It is over when the end mark is read: a process that does not die may hold the
    /// channel open for longer.
    pub(crate) async fn exec_framed(
        &self,
        script: Script,
        deadline: Duration,
        urgency: Urgency,
    ) -> Result<(Exit, Framed), SshError> {
        let framed = Mutex::new(Framed::default());
        let command = lock(&framed).command(script);
        let ended = Notify::new();
        let exit = {
            let order = Order {
                command: &command,
                deadline,
                urgency,
            };
            let mut hear = |stream, line: &str| {
                let mut framed = lock(&framed);
                framed.hear(stream, line);
                if framed.is_over() {
                    ended.notify_one();
                }
            };
            let running = self.exec(order, &mut hear);
            tokio::select! {
                exit = running => exit,
                () = ended.notified() => Ok(Exit::Code(0)),
            }
        };
        let framed = framed.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((exit?, framed))
    }

    /// Runs one command to its end or its deadline. Dropping the future closes the channel.
    ///
    /// A warm connection that proves dead when the channel is opened is replaced once, at once:
    /// until then the command has not been sent.
    pub(crate) async fn exec_raw(
        &self,
        order: Order<'_>,
        sink: RawSink<'_>,
    ) -> Result<Exit, SshError> {
        let end = Instant::now() + order.deadline;
        let late = |stage| SshError::TimedOut {
            endpoint: self.endpoint.clone(),
            stage,
            after: order.deadline,
        };
        let opening = async {
            let slot = self.room().await?;
            Ok::<_, SshError>((slot, self.open(order.urgency).await?))
        };
        let (_slot, channel) = timeout_at(end, opening)
            .await
            .map_err(|_| late(Stage::Opening))??;
        let running = self.run(channel, order.command, sink);
        timeout_at(end, running)
            .await
            .map_err(|_| late(Stage::Running))?
    }

    /// A session that nothing was asked of yet.
    pub(crate) async fn open(&self, urgency: Urgency) -> Result<Channel<Msg>, SshError> {
        let connection = self.connection(urgency).await?;
        match self.open_on(&connection).await {
            Ok(channel) => Ok(channel),
            Err(error) => {
                tracing::debug!(endpoint = %self.endpoint, %error, "dialling again");
                let fresh = self.connection(urgency).await?;
                self.open_on(&fresh).await
            }
        }
    }

    async fn open_on(&self, connection: &Arc<Connection>) -> Result<Channel<Msg>, SshError> {
        let endpoint = || self.endpoint.clone();
        let opened = match timeout(OPEN_LIMIT, connection.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(SshError::Protocol {
                endpoint: endpoint(),
                cause: error.to_string(),
            }),
            Err(_) => Err(SshError::TimedOut {
                endpoint: endpoint(),
                stage: Stage::Opening,
                after: OPEN_LIMIT,
            }),
        };
        if opened.is_err() {
            self.forget(connection).await;
        }
        opened
    }

    async fn run(
        &self,
        channel: Channel<Msg>,
        command: &str,
        sink: RawSink<'_>,
    ) -> Result<Exit, SshError> {
        let (mut reading, writing) = channel.split();
        let mut writing = CloseOnDrop(Some(writing));
        let lost = || SshError::Lost {
            endpoint: self.endpoint.clone(),
            command: command.to_owned(),
        };
        if let Some(channel) = &writing.0 {
            channel.exec(true, command).await.map_err(|_| lost())?;
            // Nothing is ever typed in; a command that reads its input sees its end.
            channel.eof().await.map_err(|_| lost())?;
        }
        let exit = read_to_end(&mut reading, sink).await;
        writing.0 = None;
        match exit {
            Ended::With(exit) => Ok(exit),
            Ended::Refused => Err(SshError::Protocol {
                endpoint: self.endpoint.clone(),
                cause: "it does not run commands for this account".to_owned(),
            }),
            Ended::Silently => Err(lost()),
        }
    }
}

enum Ended {
    With(Exit),
    Refused,
    Silently,
}

/// Reads until the channel is gone: the exit status is not the last message.
async fn read_to_end(reading: &mut ChannelReadHalf, sink: RawSink<'_>) -> Ended {
    let mut ended = Ended::Silently;
    while let Some(message) = reading.wait().await {
        match message {
            ChannelMsg::Data { data } => sink(OutputStream::Stdout, &data),
            ChannelMsg::ExtendedData { data, ext: STDERR } => sink(OutputStream::Stderr, &data),
            ChannelMsg::ExitStatus { exit_status } => ended = Ended::With(Exit::Code(exit_status)),
            ChannelMsg::ExitSignal { .. } => ended = Ended::With(Exit::Abnormal),
            ChannelMsg::Failure => ended = Ended::Refused,
            _ => {}
        }
    }
    ended
}

fn lock(framed: &Mutex<Framed>) -> MutexGuard<'_, Framed> {
    framed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes the channel of a command that nobody waits for any more.
struct CloseOnDrop(Option<ChannelWriteHalf<Msg>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let (Some(channel), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        // Bounded by its own limit, so it needs no other owner.
        runtime.spawn(async move { timeout(CLOSE_LIMIT, channel.close()).await });
    }
}
