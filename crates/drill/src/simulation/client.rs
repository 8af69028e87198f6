//! One authenticated client of either SSH server: admits the holder of the drill's key, accepts
//! sessions, and refuses terminals, forwarding and subsystems.

use std::collections::HashMap;

use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};
use tokio_util::sync::CancellationToken;

use super::channel::ChannelWriter;

/// Maximum sessions on one connection, as OpenSSH's `MaxSessions`.
const SESSIONS_MAX: usize = 10;

type SshResult<T = ()> = Result<T, russh::Error>;

/// How one of the two servers runs commands.
pub(super) trait Service: Send + 'static {
    /// Whether a signal ends the command.
    const ENDS_ON_SIGNAL: bool;

    /// The user name that the client logged in with.
    fn log_in(&mut self, _user: &str) {}

    /// Runs `command`, or opens a shell if there is none, and writes to `output`. Must return at
    /// once. `session` is cancelled when the client closes the session.
    fn run(&self, command: Option<&[u8]>, output: ChannelWriter, session: CancellationToken);
}

/// One connection's client.
pub(super) struct Client<S> {
    service: S,
    key: PublicKey,
    connection: CancellationToken,
    sessions: HashMap<ChannelId, CancellationToken>,
}

impl<S: Service> Client<S> {
    /// Admits the holder of `key` until `connection` is cancelled.
    pub(super) fn new(service: S, key: PublicKey, connection: CancellationToken) -> Client<S> {
        Client {
            service,
            key,
            connection,
            sessions: HashMap::new(),
        }
    }

    fn authenticate(&self, offered: &PublicKey) -> Auth {
        if offered.key_data() == self.key.key_data() {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }

    fn run(&self, id: ChannelId, command: Option<&[u8]>, session: &mut Session) -> SshResult {
        session.channel_success(id)?;
        if let Some(token) = self.sessions.get(&id) {
            let output = ChannelWriter::new(session, id);
            self.service.run(command, output, token.clone());
        }
        Ok(())
    }
}

impl<S: Service> Handler for Client<S> {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        offer: PublicKeyOffer<'_>,
    ) -> SshResult<Auth> {
        Ok(self.authenticate(offer.public_key))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> SshResult<Auth> {
        self.service.log_in(user);
        Ok(self.authenticate(key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> SshResult {
        if self.sessions.len() >= SESSIONS_MAX {
            let failure = ChannelOpenFailure::AdministrativelyProhibited;
            reply.reject(failure).await;
            return Ok(());
        }
        let token = self.connection.child_token();
        self.sessions.insert(channel.id(), token);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> SshResult {
        self.run(id, Some(command), session)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> SshResult {
        self.run(id, None, session)
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
    ) -> SshResult {
        session.channel_failure(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        _: &str,
        session: &mut Session,
    ) -> SshResult {
        // Accepted as by Debian's AcceptEnv, although the simulated shell ignores them.
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
    ) -> SshResult {
        session.channel_failure(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> SshResult {
        session.channel_failure(id)
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, session: &mut Session) -> SshResult {
        let Some(token) = self.sessions.get(&id).filter(|_| S::ENDS_ON_SIGNAL) else {
            return Ok(());
        };
        token.cancel();
        session.exit_signal_request(id, signal, false, "", "")?;
        session.close(id)
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> SshResult {
        if let Some(token) = self.sessions.remove(&id) {
            token.cancel();
        }
        Ok(())
    }
}
