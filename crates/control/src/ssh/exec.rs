//! One command over a warm connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use breakglass_model::OutputStream;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::dial::Connection;
use super::error::{SshError, Stage};
use super::frame::{Framed, Script};
use super::lanes::Lanes;
use super::pool::{Link, NoChannel, Urgency};

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

impl Lanes {
    /// Runs a script of the login shell's account like [`Lanes::exec`], and hears what stands between
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
}

impl Link {
    pub(super) async fn open_on(
        &self,
        connection: &Arc<Connection>,
    ) -> Result<Channel<Msg>, NoChannel> {
        let endpoint = || self.endpoint.clone();
        let error = match timeout(OPEN_LIMIT, connection.channel_open_session()).await {
            Ok(Ok(channel)) => return Ok(channel),
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => return Err(NoChannel::Full),
            Ok(Err(error)) => SshError::Protocol {
                endpoint: endpoint(),
                cause: error.to_string(),
            },
            Err(_) => SshError::TimedOut {
                endpoint: endpoint(),
                stage: Stage::Opening,
                after: OPEN_LIMIT,
            },
        };
        self.forget(connection).await;
        Err(NoChannel::Broken(error))
    }

    /// Runs `command` in a fresh session to its end.
    pub(super) async fn run(
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
