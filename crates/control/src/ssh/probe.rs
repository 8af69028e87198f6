//! A connection of its own, to try what ought to work and what ought to be refused. Nothing of it is
//! shared with operations or watchers, so a trial can't disturb them.

use std::future::Future;
use std::time::Duration;

use breakglass_model::{OutputStream, visible};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelOpenFailure, Error};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::SshOptions;
use super::dial::{Connection, dial};
use super::error::{SshError, Stage};
use super::exec::STDERR;
use super::frame::{Framed, Script};
use super::penalty;
use super::pool::{AGAIN, GOODBYE};
use crate::target::Endpoint;
use crate::text::Lines;

/// Bytes kept of each stream of an answer.
const KEPT: usize = 4096;
/// Longest wait before a dial: two failures have run off by then.
const HELD_BACK: Duration = Duration::from_secs(10);
/// Loopback of the other side.
const THERE: &str = "127.0.0.1";

/// One endpoint, entered with the key.
pub struct Probe {
    connection: Connection,
    endpoint: Endpoint,
    limit: Duration,
    /// One session at a time: sshd may grant no more (`MaxSessions`), and one that it refuses for that
    /// would pass for one that it refuses for good.
    turn: Mutex<()>,
}

/// What came of a command or a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The exit code, if there was one.
    pub code: Option<u32>,
    /// The first 4 KiB of standard output.
    pub stdout: String,
    /// The first 4 KiB of standard error.
    pub stderr: String,
    /// Whether the server did not even begin it.
    pub denied: bool,
}

impl Probe {
    /// Connects; each trial after that may take `limit`. Where logins have failed just now, it waits until
    /// one more failure does not have this machine shut out.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn dial(
        endpoint: &Endpoint,
        options: &SshOptions,
        limit: Duration,
    ) -> Result<Probe, SshError> {
        let left = penalty::wait(endpoint);
        if left > HELD_BACK {
            let endpoint = endpoint.clone();
            return Err(SshError::HeldBack { endpoint, left });
        }
        sleep(left).await;
        let connection = dial(endpoint, options, &options.pins()).await?;
        Ok(Probe {
            connection,
            endpoint: endpoint.clone(),
            limit,
            turn: Mutex::default(),
        })
    }

    /// Runs `command` to its end.
    ///
    /// # Errors
    /// When it did not end in time, or the connection broke.
    pub async fn run(&self, command: &str) -> Result<Answer, SshError> {
        self.run_for(command, self.limit).await
    }

    /// Like [`Probe::run`], with a limit of its own.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn run_for(&self, command: &str, limit: Duration) -> Result<Answer, SshError> {
        let _turn = self.turn.lock().await;
        self.within(limit, async {
            let channel = self.session().await?;
            channel.exec(true, command).await?;
            // What does not read may be gone by then.
            let _ = channel.eof().await;
            Ok(read(channel).await)
        })
        .await
    }

    /// Runs `script` and hears what stands between its marks. The login shell's exit code comes with
    /// it, if it had one, and whether the server did not even begin it.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn framed(&self, script: Script) -> Result<(Framed, Answer), SshError> {
        let _turn = self.turn.lock().await;
        self.within(self.limit, async {
            let mut framed = Framed::default();
            let channel = self.session().await?;
            channel.exec(true, framed.command(script)).await?;
            // What does not read may be gone by then.
            let _ = channel.eof().await;
            let answer = hear(channel, &mut framed).await;
            Ok((framed, answer))
        })
        .await
    }

    /// Asks for a login shell and types `text` into it.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn shell(&self, text: &str) -> Result<Answer, SshError> {
        let _turn = self.turn.lock().await;
        self.within(self.limit, async {
            let channel = self.session().await?;
            channel.request_shell(true).await?;
            // What does not read may be gone before it is written.
            let typed = channel.data_bytes(text.as_bytes().to_vec()).await;
            if typed.is_ok() {
                let _ = channel.eof().await;
            }
            Ok(read(channel).await)
        })
        .await
    }

    /// Whether a terminal is given.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn terminal(&self) -> Result<bool, SshError> {
        let _turn = self.turn.lock().await;
        self.within(self.limit, async {
            let mut channel = self.session().await?;
            channel.request_pty(true, "dumb", 80, 24, 0, 0, &[]).await?;
            let granted = loop {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => break true,
                    Some(ChannelMsg::Failure) | None => break false,
                    Some(_) => {}
                }
            };
            // The next session may have to wait for the end of this one.
            let _ = channel.close().await;
            Ok(granted)
        })
        .await
    }

    /// Whether a connection is made from there to its own SSH port.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn forwards(&self) -> Result<bool, SshError> {
        let port = u32::from(self.endpoint.port);
        self.within(self.limit, async {
            match self
                .connection
                .channel_open_direct_tcpip(THERE, port, THERE, 0)
                .await
            {
                Ok(_) => Ok(true),
                Err(Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed)) => Ok(true),
                Err(Error::ChannelOpenFailure(_)) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Whether a port is opened there for us; if so it is closed again.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn listens(&self) -> Result<bool, SshError> {
        self.within(self.limit, async {
            match self.connection.tcpip_forward(THERE, 0).await {
                Ok(port) => {
                    // It ends with the connection in any case.
                    let _ = self.connection.cancel_tcpip_forward(THERE, port).await;
                    Ok(true)
                }
                Err(Error::RequestDenied) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// A session; sshd may not be done yet with the one before.
    async fn session(&self) -> Result<Channel<Msg>, Error> {
        let end = Instant::now() + GOODBYE;
        loop {
            match self.connection.channel_open_session().await {
                Err(Error::ChannelOpenFailure(_)) if Instant::now() < end => sleep(AGAIN).await,
                opened => return opened,
            }
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        trial: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SshError> {
        match timeout(limit, trial).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(SshError::Protocol {
                endpoint: self.endpoint.clone(),
                cause: error.to_string(),
            }),
            Err(_) => Err(SshError::TimedOut {
                endpoint: self.endpoint.clone(),
                stage: Stage::Running,
                after: limit,
            }),
        }
    }
}

/// Reads until the channel is gone; keeps the beginnings.
async fn read(mut channel: Channel<Msg>) -> Answer {
    let (mut stdout, mut stderr, mut answer) = (Vec::new(), Vec::new(), Answer::default());
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => keep(&mut stdout, &data),
            ChannelMsg::ExtendedData { data, ext: STDERR } => keep(&mut stderr, &data),
            ChannelMsg::ExitStatus { exit_status } => answer.code = Some(exit_status),
            ChannelMsg::Failure => {
                answer.denied = true;
                break;
            }
            _ => {}
        }
    }
    answer.stdout = lines(&stdout);
    answer.stderr = lines(&stderr);
    answer
}

/// Reads until the script is over or the channel is gone.
async fn hear(mut channel: Channel<Msg>, framed: &mut Framed) -> Answer {
    let (mut stdout, mut stderr, mut answer) =
        (Lines::default(), Lines::default(), Answer::default());
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                stdout.push(&data, &mut |line| framed.hear(OutputStream::Stdout, line));
            }
            ChannelMsg::ExtendedData { data, ext: STDERR } => {
                stderr.push(&data, &mut |line| framed.hear(OutputStream::Stderr, line));
            }
            ChannelMsg::ExitStatus { exit_status } => answer.code = Some(exit_status),
            ChannelMsg::Failure => answer.denied = true,
            _ => {}
        }
        if framed.is_over() || answer.denied {
            break;
        }
    }
    stdout.finish(&mut |line| framed.hear(OutputStream::Stdout, line));
    stderr.finish(&mut |line| framed.hear(OutputStream::Stderr, line));
    answer
}

fn keep(kept: &mut Vec<u8>, more: &[u8]) {
    let room = (KEPT - kept.len()).min(more.len());
    kept.extend_from_slice(&more[..room]);
}

/// The lines, made harmless.
fn lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let harmless: Vec<_> = text.lines().map(visible).collect();
    harmless.join("\n")
}
