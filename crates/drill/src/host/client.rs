//! One client of either SSH server: let in by its key, given sessions, refused all else.

use std::collections::HashMap;

use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};
use tokio_util::sync::CancellationToken;

/// Sessions on one connection, as OpenSSH's `MaxSessions`.
const MAX_SESSIONS: usize = 10;

/// What a server does with the sessions of one client; where the two servers differ.
pub(super) trait Service: Send + 'static {
    /// The name under which the client comes in.
    fn user(&mut self, _: &str) {}

    /// A command; `token` is cancelled when its session ends.
    fn exec(&self, id: ChannelId, command: &[u8], token: CancellationToken, session: &Session);

    /// A session without a command.
    fn shell(&self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error>;

    /// A signal for the command under `token`; by default none reaches it.
    fn signal(
        &self,
        _: ChannelId,
        _: Sig,
        _token: &CancellationToken,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }
}

/// One connection's client.
pub(super) struct Client<S> {
    service: S,
    key: PublicKey,
    token: CancellationToken,
    sessions: HashMap<ChannelId, CancellationToken>,
}

impl<S> Client<S> {
    /// Whoever holds `key` is served, until `token` is cancelled.
    pub(super) fn new(service: S, key: PublicKey, token: CancellationToken) -> Client<S> {
        Client {
            service,
            key,
            token,
            sessions: HashMap::new(),
        }
    }

    /// Cancelled when the connection ends.
    pub(super) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    fn judge(&self, offered: &PublicKey) -> Auth {
        if offered.key_data() == self.key.key_data() {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }
}

impl<S: Service> Handler for Client<S> {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.judge(offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        self.service.user(user);
        Ok(self.judge(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.sessions.len() >= MAX_SESSIONS {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        }
        self.sessions.insert(channel.id(), self.token.child_token());
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        if let Some(token) = self.sessions.get(&id) {
            self.service.exec(id, command, token.clone(), session);
        }
        Ok(())
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        self.service.shell(id, session)
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
        name: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        // As Debian's AcceptEnv; the simulated shell has no use for them.
        if name == "LANG" || name.starts_with("LC_") {
            session.channel_success(id)
        } else {
            session.channel_failure(id)
        }
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
        match self.sessions.get(&id) {
            Some(token) => self.service.signal(id, signal, token, session),
            None => Ok(()),
        }
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        if let Some(token) = self.sessions.remove(&id) {
            token.cancel();
        }
        Ok(())
    }
}
