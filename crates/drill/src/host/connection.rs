//! What both SSH servers share: their settings, how a connection lives, how output is sent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{Config, Handle};
use russh::{ChannelId, MethodKind, MethodSet, SshId};
use tokio::net::TcpStream;

use super::client::{Client, Service};
use super::stream::Lifeline;

/// Connections of one server.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to be let in.
const LOGIN: Duration = Duration::from_secs(30);
/// How long a client may leave output unread before it is given up.
const UNREAD: Duration = Duration::from_secs(10);

/// A server's settings, with its host key.
pub(super) fn config(key: PrivateKey) -> Arc<Config> {
    Arc::new(Config {
        server_id: SshId::Standard("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3".into()),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        max_auth_attempts: 6,
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        nodelay: true,
        ..Config::default()
    })
}

/// Serves one connection until its client leaves or the client's token is cancelled.
pub(super) async fn serve<S: Service>(stream: TcpStream, config: Arc<Config>, client: Client<S>) {
    let token = client.token();
    if let Err(error) = run(stream, config, client).await {
        tracing::debug!(%error, "a connection to the simulated target ended");
    }
    // Whatever the handler started for this connection ends with it.
    token.cancel();
}

async fn run<S: Service>(
    stream: TcpStream,
    config: Arc<Config>,
    client: Client<S>,
) -> Result<(), russh::Error> {
    stream.set_nodelay(true)?;
    let lifeline = Lifeline::new(stream, client.token());
    let greeting = russh::server::run_stream(config, lifeline, client);
    let session = tokio::time::timeout(LOGIN, greeting)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    session.await
}

/// One channel's way back to its client. A client that is gone or does not read is given up.
pub(super) struct Sender {
    handle: Handle,
    channel: ChannelId,
    gone: bool,
}

impl Sender {
    pub(super) fn new(handle: Handle, channel: ChannelId) -> Sender {
        Sender {
            handle,
            channel,
            gone: false,
        }
    }

    pub(super) async fn out(&mut self, bytes: Vec<u8>) {
        if !self.gone && !bytes.is_empty() {
            let sent = tokio::time::timeout(UNREAD, self.handle.data(self.channel, bytes)).await;
            self.gone = !matches!(sent, Ok(Ok(())));
        }
    }

    pub(super) async fn err(&mut self, text: String) {
        if !self.gone && !text.is_empty() {
            let sent =
                tokio::time::timeout(UNREAD, self.handle.extended_data(self.channel, 1, text))
                    .await;
            self.gone = !matches!(sent, Ok(Ok(())));
        }
    }

    /// Sends the exit code and closes the channel.
    pub(super) async fn finish(self, code: u8) {
        if self.gone {
            return;
        }
        let closing = async {
            let _ = self
                .handle
                .exit_status_request(self.channel, u32::from(code))
                .await;
            let _ = self.handle.eof(self.channel).await;
            let _ = self.handle.close(self.channel).await;
        };
        // A client that is gone needs no goodbye.
        let _ = tokio::time::timeout(UNREAD, closing).await;
    }
}
