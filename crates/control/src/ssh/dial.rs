//! One connection attempt: TCP, host key and login under one deadline.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Preferred, cipher};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::SshOptions;
use super::error::{SshError, Stage};
use super::host_keys::HostKeys;
use super::penalty;
use crate::target::Endpoint;

/// A connection that has logged in and can run commands.
pub(crate) type Connection = Handle<HostKeyVerifier>;

/// Maximum unanswered keepalive messages before a connection counts as dead.
const UNANSWERED_KEEPALIVES_MAX: usize = 2;
/// Time in which an sshd that refuses a connection says so; one that accepts it greets as fast.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum messages buffered per channel; each has at most 32 KiB.
const CHANNEL_BUFFER_MESSAGES: usize = 16;
/// What sshd sends in place of its greeting when it refuses a connection.
const REFUSALS: [&str; 2] = ["Not allowed at this time", "Exceeded MaxStartups"];

/// Checks the host's key during the handshake.
pub(crate) struct HostKeyVerifier {
    endpoint: Endpoint,
    host_keys: Arc<HostKeys>,
}

/// Why a handshake failed: an error of the library, or our own verdict on the host key.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    Library(russh::Error),
    HostKey(SshError),
}

impl From<russh::Error> for HandshakeError {
    fn from(error: russh::Error) -> HandshakeError {
        HandshakeError::Library(error)
    }
}

impl client::Handler for HostKeyVerifier {
    type Error = HandshakeError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, HandshakeError> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                let checked = self.host_keys.check(&self.endpoint, key);
                checked.map(|()| true).map_err(HandshakeError::HostKey)
            }
            // We don't advertise host certificates, so we accept none.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }
}

/// Dials `endpoint` and logs in with the key of `options`.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    options: &SshOptions,
    host_keys: &Arc<HostKeys>,
) -> Result<Connection, SshError> {
    let started = Instant::now();
    let attempt = Attempt {
        endpoint,
        options,
        deadline: started + options.connect_timeout,
    };
    let dialled = attempt.run(host_keys).await;
    let error = dialled.as_ref().err();
    penalty::record(endpoint, error);
    options.metrics.record(endpoint, error, started.elapsed());
    dialled
}

struct Attempt<'a> {
    endpoint: &'a Endpoint,
    options: &'a SshOptions,
    deadline: Instant,
}

impl Attempt<'_> {
    async fn run(&self, host_keys: &Arc<HostKeys>) -> Result<Connection, SshError> {
        let endpoint = self.endpoint;
        let connecting = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
        let connected = self.in_time(Stage::Connecting, connecting).await?;
        let stream = connected.map_err(|error| self.unreachable(&error, false))?;
        // Without it each command waits 40 ms for the other side's delayed acknowledgement.
        stream
            .set_nodelay(true)
            .map_err(|error| self.unreachable(&error, false))?;
        if let Ok(Some(said)) = timeout(REFUSAL_TIMEOUT, read_refusal(&stream)).await {
            return Err(SshError::ShutOut {
                endpoint: endpoint.clone(),
                said: said.to_owned(),
                left: penalty::outstanding(endpoint),
            });
        }

        let config = config(self.options.keepalive, &host_keys.algorithms(endpoint));
        let verifier = HostKeyVerifier {
            endpoint: endpoint.clone(),
            host_keys: Arc::clone(host_keys),
        };
        let handshake = client::connect_stream(Arc::new(config), stream, verifier);
        let greeted = self.in_time(Stage::Greeting, handshake).await?;
        let mut connection = greeted.map_err(|error| self.handshake_error(error))?;

        let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.options.key), None);
        let login = connection.authenticate_publickey(endpoint.user.as_str(), key);
        match self.in_time(Stage::Authenticating, login).await? {
            Ok(result) if result.success() => Ok(connection),
            Ok(_) => Err(SshError::KeyRefused {
                endpoint: endpoint.clone(),
            }),
            Err(error) => Err(self.handshake_error(HandshakeError::Library(error))),
        }
    }

    async fn in_time<T>(&self, stage: Stage, work: impl Future<Output = T>) -> Result<T, SshError> {
        let done = timeout_at(self.deadline, work).await;
        done.map_err(|_| SshError::TimedOut {
            endpoint: self.endpoint.clone(),
            stage,
            after: self.options.connect_timeout,
        })
    }

    fn unreachable(&self, error: &io::Error, greeted: bool) -> SshError {
        SshError::Unreachable {
            endpoint: self.endpoint.clone(),
            refused: is_from_peer(error),
            cause: error.to_string(),
            greeted,
        }
    }

    fn handshake_error(&self, error: HandshakeError) -> SshError {
        let endpoint = self.endpoint.clone();
        match error {
            HandshakeError::HostKey(error) => error,
            HandshakeError::Library(russh::Error::IO(error)) => self.unreachable(&error, true),
            HandshakeError::Library(russh::Error::HUP | russh::Error::Disconnect) => {
                SshError::Unreachable {
                    endpoint,
                    cause:
                        "it hung up during the handshake; if it answered before, its sshd may be \
                            refusing this machine for now (MaxStartups, PerSourcePenalties)"
                            .into(),
                    refused: true,
                    greeted: true,
                }
            }
            HandshakeError::Library(error) => SshError::Protocol {
                endpoint,
                cause: error.to_string(),
            },
        }
    }
}

/// Reads the one line that sshd sends before it hangs up, if it refuses the connection. Consumes nothing from
/// the stream. Returns `None` if sshd greets, hangs up or sends anything else.
async fn read_refusal(stream: &TcpStream) -> Option<&'static str> {
    let mut first = [0; 256];
    let mut seen = 0;
    let mut seen_before = usize::MAX;
    while seen != seen_before {
        seen_before = seen;
        seen = stream.peek(&mut first).await.ok()?;
        let text = String::from_utf8_lossy(&first[..seen]);
        let line = text.lines().next().unwrap_or_default();
        if let Some(refusal) = REFUSALS.into_iter().find(|text| line.starts_with(text)) {
            return Some(refusal);
        }
        if line.len() >= REFUSALS[0].len() || line.starts_with("SSH-") {
            return None;
        }
        tokio::task::yield_now().await;
    }
    None
}

fn config(keepalive: Duration, pinned: &[Algorithm]) -> client::Config {
    let mut key: Vec<Algorithm> = Preferred::DEFAULT.key.to_vec();
    key.sort_by_key(|algorithm| !pinned.contains(algorithm));
    client::Config {
        keepalive_interval: Some(keepalive),
        keepalive_max: UNANSWERED_KEEPALIVES_MAX,
        channel_buffer_size: CHANNEL_BUFFER_MESSAGES,
        nodelay: true,
        preferred: Preferred {
            key: Cow::Owned(key),
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
            ]),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// Whether the other side's kernel caused the error.
fn is_from_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | UnexpectedEof
    )
}
