//! A connection of its own, to try what should work and what should be refused. It shares nothing with
//! operations or watchers, so a probe can't disturb them.

use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use breakglass_model::{OutputStream, visible};
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelOpenFailure, Error};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::SshOptions;
use super::channel::{ChannelEnd, read_output};
use super::dial::{Connection, dial};
use super::error::{SshError, Stage};
use super::framed::{Framed, Script};
use super::penalty;
use super::warm::{SESSION_RELEASE_TIMEOUT, SESSION_RETRY_INTERVAL};
use crate::target::Endpoint;

/// Maximum bytes kept of each output stream.
const OUTPUT_MAX_BYTES: usize = 4096;
/// Longest wait before a dial, so that it can't get this machine shut out: two failed logins expire by then.
const DIAL_WAIT_MAX: Duration = Duration::from_secs(10);
const REMOTE_LOOPBACK: &str = "127.0.0.1";

/// One endpoint, logged in to with the key.
pub struct Probe {
    connection: Connection,
    endpoint: Endpoint,
    timeout: Duration,
    /// One session at a time: sshd may allow no more (`MaxSessions`), and a session refused for that reason
    /// would look like one that is always refused.
    session: Mutex<()>,
}

/// The result of a command or a shell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// The exit code, if there was one.
    pub code: Option<u32>,
    /// The first 4 KiB of standard output.
    pub stdout: String,
    /// The first 4 KiB of standard error.
    pub stderr: String,
    /// Whether the server refused to start it.
    pub denied: bool,
}

impl Probe {
    /// Connects; each request after that takes at most `timeout`. After failed logins it waits until one
    /// more failure can't get this machine shut out.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn dial(
        endpoint: &Endpoint,
        options: &SshOptions,
        timeout: Duration,
    ) -> Result<Probe, SshError> {
        let wait = penalty::wait(endpoint);
        if wait > DIAL_WAIT_MAX {
            let endpoint = endpoint.clone();
            return Err(SshError::HeldBack {
                endpoint,
                left: wait,
            });
        }
        sleep(wait).await;
        let connection = dial(endpoint, options, &options.host_keys()).await?;
        Ok(Probe {
            connection,
            endpoint: endpoint.clone(),
            timeout,
            session: Mutex::default(),
        })
    }

    /// Runs `command` to its end.
    ///
    /// # Errors
    /// When it did not end in time, or the connection broke.
    pub async fn run(&self, command: &str) -> Result<CommandOutput, SshError> {
        self.run_for(command, self.timeout).await
    }

    /// Like [`Probe::run`], with a timeout of its own.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn run_for(
        &self,
        command: &str,
        timeout: Duration,
    ) -> Result<CommandOutput, SshError> {
        let _session = self.session.lock().await;
        self.within(timeout, async {
            let channel = self.open_session().await?;
            channel.exec(true, command).await?;
            // A command that does not read its input may have ended already.
            let _ = channel.eof().await;
            Ok(read(channel).await)
        })
        .await
    }

    /// Runs `script` and returns its output between the markers, and the login shell's exit code.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn framed(&self, script: Script) -> Result<(Framed, CommandOutput), SshError> {
        let _session = self.session.lock().await;
        self.within(self.timeout, async {
            let mut framed = Framed::default();
            let channel = self.open_session().await?;
            channel.exec(true, framed.command(script)).await?;
            let _ = channel.eof().await;
            let mut output = CommandOutput::default();
            let (mut reading, _writing) = channel.split();
            let end = read_output(&mut reading, |stream, bytes| framed.push(stream, bytes)).await;
            output.set_end(end);
            framed.finish();
            Ok((framed, output))
        })
        .await
    }

    /// Requests a login shell and types `text` into it.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn shell(&self, text: &str) -> Result<CommandOutput, SshError> {
        let _session = self.session.lock().await;
        self.within(self.timeout, async {
            let channel = self.open_session().await?;
            channel.request_shell(true).await?;
            // A shell that does not read may have ended before the text is sent.
            let typed = channel.data_bytes(text.as_bytes().to_vec()).await;
            if typed.is_ok() {
                let _ = channel.eof().await;
            }
            Ok(read(channel).await)
        })
        .await
    }

    /// Whether the server provides a terminal.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn terminal(&self) -> Result<bool, SshError> {
        let _session = self.session.lock().await;
        self.within(self.timeout, async {
            let mut channel = self.open_session().await?;
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

    /// Whether the server forwards a connection: to its own SSH port.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn forwards(&self) -> Result<bool, SshError> {
        let port = u32::from(self.endpoint.port);
        self.within(self.timeout, async {
            let opening = self.connection.channel_open_direct_tcpip(
                REMOTE_LOOPBACK,
                port,
                REMOTE_LOOPBACK,
                0,
            );
            match opening.await {
                Ok(_) => Ok(true),
                Err(Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed)) => Ok(true),
                Err(Error::ChannelOpenFailure(_)) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Whether the server opens a listening port for us; it is closed again.
    ///
    /// # Errors
    /// Like [`Probe::run`].
    pub async fn listens(&self) -> Result<bool, SshError> {
        self.within(self.timeout, async {
            match self.connection.tcpip_forward(REMOTE_LOOPBACK, 0).await {
                Ok(port) => {
                    // It ends with the connection in any case.
                    let _ = self
                        .connection
                        .cancel_tcpip_forward(REMOTE_LOOPBACK, port)
                        .await;
                    Ok(true)
                }
                Err(Error::RequestDenied) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Opens a session; sshd may not have released the previous one yet.
    async fn open_session(&self) -> Result<Channel<Msg>, Error> {
        let deadline = Instant::now() + SESSION_RELEASE_TIMEOUT;
        loop {
            match self.connection.channel_open_session().await {
                Err(Error::ChannelOpenFailure(_)) if Instant::now() < deadline => {
                    sleep(SESSION_RETRY_INTERVAL).await;
                }
                opened => return opened,
            }
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SshError> {
        match timeout(limit, request).await {
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

impl CommandOutput {
    fn set_end(&mut self, end: ChannelEnd) {
        match end {
            ChannelEnd::Exited(code) => self.code = code,
            ChannelEnd::Rejected => self.denied = true,
            ChannelEnd::Stopped | ChannelEnd::Closed => {}
        }
    }
}

/// Reads until the channel is closed; keeps the first bytes of each stream.
async fn read(channel: Channel<Msg>) -> CommandOutput {
    let mut stdout = Vec::new();
    let mut stderr = Vec::new();
    let mut output = CommandOutput::default();
    let (mut reading, _writing) = channel.split();
    let end = read_output(&mut reading, |stream, bytes| {
        let kept = match stream {
            OutputStream::Stdout => &mut stdout,
            OutputStream::Stderr => &mut stderr,
        };
        let room = OUTPUT_MAX_BYTES - kept.len();
        kept.extend_from_slice(&bytes[..room.min(bytes.len())]);
        ControlFlow::Continue(())
    })
    .await;
    output.set_end(end);
    output.stdout = visible_lines(&stdout);
    output.stderr = visible_lines(&stderr);
    output
}

fn visible_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().map(visible).collect();
    lines.join("\n")
}
