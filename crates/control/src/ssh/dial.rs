//! One connection attempt, from TCP to an accepted key, under one deadline.

use std::borrow::Cow;
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

/// A connection that took the key and can run commands.
pub(crate) type Connection = Handle<Verifier>;

/// Probes that may stay unanswered before a connection counts as dead.
const UNANSWERED_PROBES: usize = 2;
/// How long an sshd that refuses a connection takes to say so; one that greets takes as long.
const REFUSAL: Duration = Duration::from_secs(1);
/// Messages that wait per channel; each is at most 32 KiB.
const CHANNEL_MESSAGES: usize = 16;

/// Compares the host's key while the connection is made.
pub(crate) struct Verifier {
    endpoint: Endpoint,
    host_keys: Arc<HostKeys>,
}

/// What ends the handshake: the library's error, or our own judgement of the key.
#[derive(Debug)]
pub(crate) enum Broken {
    Library(russh::Error),
    Judged(SshError),
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Broken {
        Broken::Library(error)
    }
}

impl client::Handler for Verifier {
    type Error = Broken;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.host_keys
                    .check(&self.endpoint, key)
                    .map_err(Broken::Judged)?;
                Ok(true)
            }
            // None is offered for, so none is trusted.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }
}

/// Dials `endpoint` and enters it with the key of `options`.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    options: &SshOptions,
    host_keys: &Arc<HostKeys>,
) -> Result<Connection, SshError> {
    let began = Instant::now();
    let dialled = enter(endpoint, options, host_keys).await;
    let failed = dialled.as_ref().err();
    penalty::note(endpoint, failed);
    options.dials.note(endpoint, failed, began.elapsed());
    dialled
}

async fn enter(
    endpoint: &Endpoint,
    options: &SshOptions,
    host_keys: &Arc<HostKeys>,
) -> Result<Connection, SshError> {
    let deadline = Instant::now() + options.connect_timeout;
    let late = |stage| SshError::TimedOut {
        endpoint: endpoint.clone(),
        stage,
        after: options.connect_timeout,
    };

    let connecting = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
    let unreachable = |error: std::io::Error| SshError::Unreachable {
        endpoint: endpoint.clone(),
        refused: is_answer(&error),
        cause: error.to_string(),
        greeted: false,
    };
    let stream = timeout_at(deadline, connecting)
        .await
        .map_err(|_| late(Stage::Connecting))?
        .map_err(unreachable)?;
    // Without it each command waits 40 ms for the other side's delayed acknowledgement.
    stream.set_nodelay(true).map_err(unreachable)?;
    if let Ok(Some(said)) = timeout(REFUSAL, refusal(&stream)).await {
        let (endpoint, left) = (endpoint.clone(), penalty::outstanding(endpoint));
        return Err(SshError::ShutOut {
            endpoint,
            said,
            left,
        });
    }

    let config = Arc::new(config(options.keepalive, &host_keys.algorithms(endpoint)));
    let verifier = Verifier {
        endpoint: endpoint.clone(),
        host_keys: Arc::clone(host_keys),
    };
    let greeting = client::connect_stream(config, stream, verifier);
    let mut connection = timeout_at(deadline, greeting)
        .await
        .map_err(|_| late(Stage::Greeting))?
        .map_err(|broken| sentence(endpoint, broken))?;

    let key = PrivateKeyWithHashAlg::new(Arc::clone(&options.key), None);
    let entering = connection.authenticate_publickey(endpoint.user.as_str(), key);
    let answer = timeout_at(deadline, entering)
        .await
        .map_err(|_| late(Stage::Authenticating))?;
    match answer {
        Ok(result) if result.success() => Ok(connection),
        Ok(_) => Err(SshError::KeyRefused {
            endpoint: endpoint.clone(),
        }),
        Err(error) => Err(sentence(endpoint, Broken::Library(error))),
    }
}

/// What sshd says in place of its greeting when it takes no connection of ours: one line, and it hangs up.
/// Leaves what it reads unread. None once it greets, hangs up or says something else.
async fn refusal(stream: &TcpStream) -> Option<String> {
    let mut first = [0; 256];
    let (mut seen, mut before) = (0, usize::MAX);
    while seen != before {
        before = seen;
        seen = stream.peek(&mut first).await.ok()?;
        let text = String::from_utf8_lossy(&first[..seen]);
        let line = text.lines().next().unwrap_or_default();
        let words = ["Not allowed at this time", "Exceeded MaxStartups"];
        if let Some(said) = words.into_iter().find(|said| line.starts_with(said)) {
            return Some(said.to_owned());
        }
        if line.len() >= words[0].len() || line.starts_with("SSH-") {
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
        keepalive_max: UNANSWERED_PROBES,
        channel_buffer_size: CHANNEL_MESSAGES,
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

/// Whether the other side's kernel sent it.
fn is_answer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof,
    };
    let kinds = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        UnexpectedEof,
    ];
    kinds.contains(&error.kind())
}

fn sentence(endpoint: &Endpoint, broken: Broken) -> SshError {
    let endpoint = endpoint.clone();
    match broken {
        Broken::Judged(error) => error,
        Broken::Library(russh::Error::IO(error)) => SshError::Unreachable {
            endpoint,
            refused: is_answer(&error),
            cause: error.to_string(),
            greeted: true,
        },
        Broken::Library(russh::Error::HUP | russh::Error::Disconnect) => SshError::Unreachable {
            endpoint,
            cause: "it hung up during the handshake; where it answered before, its sshd may refuse this \
                    machine for now (MaxStartups, PerSourcePenalties)"
                .into(),
            refused: true,
            greeted: true,
        },
        Broken::Library(error) => SshError::Protocol {
            endpoint,
            cause: error.to_string(),
        },
    }
}
