//! The SSH server for one connection of the agent's client. The client was authenticated before its first
//! byte; what it may do is decided per command.

use std::collections::HashMap;
use std::sync::Arc;

use breakglass_model::{Actor, EventBody, Level};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel_request::{ChannelRequest, Terminal, Variables};
use crate::connection_limit::CommandCount;
use crate::dispatch::PendingRequest;
use crate::session::BastionSession;
use breakglass_model::Side;

/// Maximum number of channels of one connection: OpenSSH's ControlMaster, if the agent configures it, uses
/// one connection for all commands.
const CHANNELS_MAX: usize = 80;
/// Maximum number of refused requests that are recorded per connection.
const RECORDED_REFUSALS_MAX: usize = 8;

/// One connection.
pub(crate) struct AgentConnection {
    pub(crate) incident_session: Arc<BastionSession>,
    pub(crate) side: Side,
    pub(crate) tasks: TaskTracker,
    /// Notified when the client has logged in.
    pub(crate) logged_in: Arc<Notify>,
    /// Cancelled when the connection is over.
    pub(crate) connection: CancellationToken,
    pub(crate) commands: CommandCount,
    pub(crate) channels: HashMap<ChannelId, ChannelState>,
    pub(crate) refusals: usize,
}

/// The state of one channel.
pub(crate) struct ChannelState {
    channel: Option<Channel<Msg>>,
    variables: Variables,
    terminal: Option<Terminal>,
    closed: CancellationToken,
}

impl AgentConnection {
    /// Records a request that no agent is allowed.
    async fn refuse(&mut self, what: &str) {
        self.refusals += 1;
        if self.refusals > RECORDED_REFUSALS_MAX {
            return;
        }
        let host = self.incident_session.target.config().name_of(self.side);
        let notice = EventBody::Notice {
            level: Level::Warning,
            code: "forwarding_refused".to_owned(),
            message: format!(
                "The agent requested {what} to {host} and was refused: it may run commands there, \
                 but forward nothing."
            ),
        };
        let log = self.incident_session.log();
        log.record(self.incident_session.incident, Actor::Agent, notice)
            .await;
    }

    fn begin(
        &mut self,
        id: ChannelId,
        request: ChannelRequest,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let state = self.channels.get_mut(&id);
        let Some((channel, state)) = state.and_then(|state| Some((state.channel.take()?, state)))
        else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let pending = PendingRequest {
            session: Arc::clone(&self.incident_session),
            side: self.side,
            request,
            variables: std::mem::take(&mut state.variables),
            terminal: state.terminal.take(),
            channel,
            handle: session.handle(),
            closed: state.closed.clone(),
        };
        let running = self.commands.begin();
        self.tasks.spawn(async move {
            pending.run().await;
            drop(running);
        });
        Ok(())
    }
}

impl Drop for AgentConnection {
    fn drop(&mut self) {
        self.connection.cancel();
    }
}

impl Handler for AgentConnection {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        self.logged_in.notify_one();
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // The library does not report a close that answers our own.
        self.channels
            .retain(|_, state| !state.closed.is_cancelled());
        if self.channels.len() >= CHANNELS_MAX {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        let state = ChannelState {
            channel: Some(channel),
            variables: Variables::default(),
            terminal: None,
            closed: self.connection.child_token(),
        };
        self.channels.insert(id, state);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(id, ChannelRequest::Exec(command.to_vec()), session)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(id, ChannelRequest::Shell, session)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(id, ChannelRequest::Subsystem(name.to_owned()), session)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let state = self.channels.get_mut(&id);
        if state.is_some_and(|state| state.variables.set(name, value)) {
            session.channel_success(id)
        } else {
            session.channel_failure(id)
        }
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(state) = self.channels.get_mut(&id).filter(|_| term.len() <= 256) else {
            return session.channel_failure(id);
        };
        state.terminal = Some(Terminal {
            term: term.to_owned(),
            columns,
            rows,
            pixels: (width, height),
            modes: modes.to_vec(),
        });
        session.channel_success(id)
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        if let Some(state) = self.channels.remove(&id) {
            state.closed.cancel();
        }
        Ok(())
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.refuse("X11 forwarding").await;
        session.channel_failure(id)
    }

    async fn agent_request(&mut self, _: ChannelId, _: &mut Session) -> Result<bool, russh::Error> {
        self.refuse("agent forwarding").await;
        Ok(false)
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        to: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let to: String = to.chars().filter(char::is_ascii_graphic).take(64).collect();
        self.refuse(&format!("a forwarded connection to {to}:{port}"))
            .await;
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.refuse("a forwarded connection to a unix socket").await;
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        _: &str,
        _: &mut u32,
        _: &mut Session,
    ) -> Result<bool, russh::Error> {
        self.refuse("a listening port").await;
        Ok(false)
    }

    async fn streamlocal_forward(
        &mut self,
        _: &str,
        _: &mut Session,
    ) -> Result<bool, russh::Error> {
        self.refuse("a listening unix socket").await;
        Ok(false)
    }
}
