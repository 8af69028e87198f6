//! One client of the bastion: an SSH session on the agent's unix socket. Who it is was proved before its
//! first byte; what it may do is decided per command.

use std::collections::HashMap;
use std::sync::Arc;

use breakglass_model::{Actor, EventBody, Level};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::crowd;
use crate::errand::{Errand, Terminal, Variables};
use crate::seat::Seat;
use crate::work::Job;
use breakglass_model::Side;

/// Channels of one connection: OpenSSH's ControlMaster, where the agent sets it up, puts all commands on one.
const CHANNELS: usize = 80;
/// Refused requests of one connection that are recorded; the next ones are only refused.
const TOLD: usize = 8;

/// One connection's client.
pub(crate) struct Client {
    pub(crate) seat: Arc<Seat>,
    pub(crate) place: Side,
    pub(crate) tasks: TaskTracker,
    /// Tells that the client was let in.
    pub(crate) entered: Arc<Notify>,
    /// Cancelled when the connection is over.
    pub(crate) connection: CancellationToken,
    pub(crate) work: crowd::Work,
    pub(crate) doors: HashMap<ChannelId, Door>,
    pub(crate) told: usize,
}

/// One channel, until its errand begins and as long as it lives.
pub(crate) struct Door {
    channel: Option<Channel<Msg>>,
    variables: Variables,
    terminal: Option<Terminal>,
    gone: CancellationToken,
}

impl Client {
    /// Refuses what no agent gets, and records the attempt.
    async fn refuse(&mut self, what: &str) {
        self.told += 1;
        if self.told > TOLD {
            return;
        }
        let host = self.seat.target.config().name_of(self.place);
        let notice = EventBody::Notice {
            level: Level::Warning,
            code: "forwarding_refused".to_owned(),
            message: format!(
                "The agent asked for {what} to {host} and was refused: it gets commands there, \
                 and no forwarding of any kind."
            ),
        };
        let log = self.seat.log();
        log.record(self.seat.incident, Actor::Agent, notice).await;
    }

    fn begin(
        &mut self,
        id: ChannelId,
        errand: Errand,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let door = self.doors.get_mut(&id);
        let Some((channel, door)) = door.and_then(|door| Some((door.channel.take()?, door))) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let job = Job {
            seat: Arc::clone(&self.seat),
            place: self.place,
            errand,
            variables: std::mem::take(&mut door.variables),
            terminal: door.terminal.take(),
            channel,
            handle: session.handle(),
            gone: door.gone.clone(),
        };
        let running = self.work.begin();
        self.tasks.spawn(async move {
            job.run().await;
            drop(running);
        });
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.cancel();
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        self.entered.notify_one();
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // The library does not tell of a close that answers our own.
        self.doors.retain(|_, door| !door.gone.is_cancelled());
        if self.doors.len() >= CHANNELS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        let door = Door {
            channel: Some(channel),
            variables: Variables::default(),
            terminal: None,
            gone: self.connection.child_token(),
        };
        self.doors.insert(id, door);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(id, Errand::Exec(command.to_vec()), session)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(id, Errand::Shell, session)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(id, Errand::Subsystem(name.to_owned()), session)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let door = self.doors.get_mut(&id);
        if door.is_some_and(|door| door.variables.set(name, value)) {
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
        let Some(door) = self.doors.get_mut(&id).filter(|_| term.len() <= 256) else {
            return session.channel_failure(id);
        };
        door.terminal = Some(Terminal {
            term: term.to_owned(),
            columns,
            rows,
            pixels: (width, height),
            modes: modes.to_vec(),
        });
        session.channel_success(id)
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        if let Some(door) = self.doors.remove(&id) {
            door.gone.cancel();
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
        self.refuse(&format!("a connection onwards to {to}:{port}"))
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
        self.refuse("a connection onwards to a unix socket").await;
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
