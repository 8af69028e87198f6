//! The guest's SSH server: commands run in the machine's shell; there is no terminal.

use std::collections::HashMap;

use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{MAX_SESSIONS, Sender, judge};
use crate::machine::{Machine, Network};
use crate::shell::Shell;

/// Bytes that one command may send; a runaway is ended there.
const MAX_SENT: usize = 4 << 20;
const NO_TERMINAL: &str = "this drill's guest runs commands only: ssh HOST COMMAND\r\n";

/// One client of the guest.
pub(super) struct Guest {
    pub(super) machine: Machine,
    pub(super) key: PublicKey,
    pub(super) user: String,
    pub(super) channels: HashMap<ChannelId, CancellationToken>,
    pub(super) token: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Guest {
    fn run(&self, id: ChannelId, script: &str, session: &Session) {
        let Some(token) = self.channels.get(&id).cloned() else {
            return;
        };
        let shell = Shell::new(self.machine.clone(), &self.user, script);
        let (machine, sender) = (self.machine.clone(), Sender::new(session.handle(), id));
        self.tasks.spawn(async move {
            token
                .run_until_cancelled(run(shell, &machine, sender))
                .await;
        });
    }
}

async fn run(mut shell: Shell, machine: &Machine, mut sender: Sender) {
    if machine.network().0 != Network::Up {
        // The machine hangs and the command with it. The connection's end ends the wait.
        return std::future::pending().await;
    }
    let mut sent = 0;
    while let Some(reply) = shell.step() {
        sent += reply.out.len() + reply.err.len();
        sender.err(reply.err).await;
        sender.out(reply.out).await;
        tokio::time::sleep(reply.takes).await;
        if sent > MAX_SENT {
            sender
                .err("sh: this drill's guest sends no more than that\n".to_owned())
                .await;
            break;
        }
    }
    sender.finish(shell.status()).await;
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(judge(offer.public_key, &self.key))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        user.clone_into(&mut self.user);
        Ok(judge(key.public_key, &self.key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.channels.len() >= MAX_SESSIONS {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        }
        self.channels.insert(channel.id(), self.token.child_token());
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        self.run(id, &String::from_utf8_lossy(data), session);
        Ok(())
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        session.extended_data(id, 1, NO_TERMINAL)?;
        session.exit_status_request(id, 1)?;
        session.eof(id)?;
        session.close(id)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
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
        session.channel_failure(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if let Some(token) = self.channels.get(&id) {
            token.cancel();
            session.exit_signal_request(id, signal, false, "", "")?;
            session.close(id)?;
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        if let Some(token) = self.channels.remove(&id) {
            token.cancel();
        }
        Ok(())
    }
}
