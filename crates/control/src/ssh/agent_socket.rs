//! An ssh-agent that holds one key in memory: it lists the key and signs with it, for processes
//! of its own user, and does nothing else. It lets the stock `ssh` use a key that no file holds.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::keys::signature::Signer;
use russh::keys::ssh_encoding::{Decode, Encode};
use russh::keys::ssh_key::Signature;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// A signing request is a session id, a user name and a key: far below this.
const FRAME_LIMIT: usize = 16 * 1024;
const CONNECTIONS: usize = 32;
/// Longest silence of a client before it is let go.
const IDLE_LIMIT: Duration = Duration::from_secs(600);

/// A served socket; its file goes when this is dropped, its tasks when `cancel` is cancelled.
#[derive(Debug)]
pub struct AgentSocket {
    path: PathBuf,
}

impl AgentSocket {
    /// Serves `key` on a new socket at `path`. Its directory is made if need be, and must be
    /// the caller's own and closed to everybody else (0700). A socket left behind is replaced.
    ///
    /// # Errors
    /// When the directory is open to others, or the socket can't be bound.
    pub fn serve(
        path: &Path,
        key: Arc<PrivateKey>,
        cancel: CancellationToken,
        tracker: &TaskTracker,
    ) -> io::Result<AgentSocket> {
        let owner = private_parent(path)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let accepting = accept(listener, owner, key, cancel.clone(), tracker.clone());
        tracker.spawn(async move { cancel.run_until_cancelled(accepting).await });
        Ok(AgentSocket {
            path: path.to_owned(),
        })
    }

    /// Where it listens: the value for `IdentityAgent`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AgentSocket {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

/// Gives the directory's owner.
fn private_parent(path: &Path) -> io::Result<u32> {
    let dir = path
        .parent()
        .ok_or_else(|| io::Error::other("the socket needs a directory"))?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let metadata = fs::metadata(dir)?;
    if metadata.mode() & 0o077 != 0 {
        let dir = dir.display();
        let message =
            format!("{dir} is open to others, and a socket that signs goes there; chmod 700 {dir}");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(metadata.uid())
}

async fn accept(
    listener: UnixListener,
    owner: u32,
    key: Arc<PrivateKey>,
    cancel: CancellationToken,
    tracker: TaskTracker,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the agent socket could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == owner) {
            tracing::warn!("a process of another user asked for a signature and was turned away");
            continue;
        }
        let (key, cancel) = (Arc::clone(&key), cancel.clone());
        tracker.spawn(async move {
            let _permit = permit;
            if let Some(Err(error)) = cancel.run_until_cancelled(converse(stream, &key)).await {
                tracing::debug!(%error, "an agent client left");
            }
        });
    }
}

async fn converse(mut stream: UnixStream, key: &PrivateKey) -> io::Result<()> {
    loop {
        let reading = read_frame(&mut stream);
        let Some(request) = tokio::time::timeout(IDLE_LIMIT, reading).await?? else {
            return Ok(());
        };
        let answer = answer(&request, key).unwrap_or_else(|| vec![FAILURE]);
        let length = u32::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&answer).await?;
    }
}

/// The next request, or `None` when the client has left.
async fn read_frame(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u32().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > FRAME_LIMIT {
        return Err(io::Error::other(format!("a request of {length} bytes")));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

/// The answer's bytes; `None` where the protocol's one word for failure is the answer.
fn answer(request: &[u8], key: &PrivateKey) -> Option<Vec<u8>> {
    let (kind, body) = request.split_first()?;
    match *kind {
        REQUEST_IDENTITIES if body.is_empty() => identities(key),
        SIGN_REQUEST => signature(body, key),
        _ => None,
    }
}

fn identities(key: &PrivateKey) -> Option<Vec<u8>> {
    let mut answer = vec![IDENTITIES_ANSWER];
    1u32.encode(&mut answer).ok()?;
    key.public_key().to_bytes().ok()?.encode(&mut answer).ok()?;
    "breakglass".encode(&mut answer).ok()?;
    Some(answer)
}

fn signature(mut body: &[u8], key: &PrivateKey) -> Option<Vec<u8>> {
    let wanted = Vec::<u8>::decode(&mut body).ok()?;
    let data = Vec::<u8>::decode(&mut body).ok()?;
    if wanted != key.public_key().to_bytes().ok()? {
        return None;
    }
    let signature: Signature = key.try_sign(&data).ok()?;
    let mut bytes = Vec::new();
    signature.encode(&mut bytes).ok()?;
    let mut answer = vec![SIGN_RESPONSE];
    bytes.encode(&mut answer).ok()?;
    Some(answer)
}
