//! The sockets of one CLI in the runner's container, in front of the bastion's. A process of that CLI gets a
//! connection to the bastion, which trusts the runner because of the credential that came with the start order.
//!
//! ```text
//!   the CLI's ssh ──▶ runner: a process of this CLI? ──▶ bastion: "SECRET enter"
//!                 ◀── the connection itself          ◀── "SSH-2.0-…"
//! ```
//! The server can't examine processes of another container. The data of the connection does not pass through
//! the runner.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use breakglass_model::gateway::RunnerCredential;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::options::Shared;
use super::socket::bind_for_all;
use crate::account::{Account, act_as};
use crate::bastion_socket::{BastionAnswer, await_answer, pass_connection};
use crate::child::{ProcessTree, peer_uid};
use crate::plan::Plan;

/// Maximum number of connections that are being checked at once; more wait in the kernel's queue.
const CHECKS_MAX: usize = 16;
/// Maximum time for the other end to read what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Delay after a connection could not be accepted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Directory of all these sockets, beside the runner's own socket.
pub(super) fn root(socket: &Path) -> PathBuf {
    socket.with_file_name("cli-sockets")
}

/// The sockets of one CLI. Closed and removed on drop.
pub(super) struct BastionSockets {
    directory: PathBuf,
    process_tree: Arc<OnceLock<ProcessTree>>,
    _tasks: JoinSet<()>,
}

impl Drop for BastionSockets {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What one socket needs to answer connections.
struct Forwarder {
    /// The bastion's socket of the same machine.
    bastion: PathBuf,
    secret: String,
    process_tree: Arc<OnceLock<ProcessTree>>,
    account: Option<Account>,
    /// The possible uids of the server.
    servers: Vec<u32>,
}

impl BastionSockets {
    /// Makes the sockets for `plan`, and replaces the bastion's directory in it. None if the plan has no
    /// credential.
    ///
    /// # Errors
    /// The file system's error, or a credential without a directory.
    pub(super) fn open(plan: &mut Plan, shared: &Shared) -> io::Result<Option<BastionSockets>> {
        let Some(RunnerCredential { variable, secret }) = plan.credential.take() else {
            return Ok(None);
        };
        let variables = &mut plan.env;
        let Some((_, value)) = variables.iter_mut().find(|(name, _)| *name == variable) else {
            return Err(io::Error::other("its credential is for no directory"));
        };
        let bastion_dir = PathBuf::from(std::mem::take(value));
        let name = uuid::Uuid::new_v4().simple().to_string();
        let directory = root(&shared.options.socket).join(&name[..12]);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o711).create(&directory)?;
        *value = directory.display().to_string();
        let mut sockets = BastionSockets {
            directory,
            process_tree: Arc::default(),
            _tasks: JoinSet::new(),
        };
        for name in [&plan.names.guest, &plan.names.host] {
            let forwarder = Forwarder {
                bastion: bastion_dir.join(name),
                secret: secret.clone(),
                process_tree: Arc::clone(&sockets.process_tree),
                account: shared.options.agent.account,
                servers: shared.options.peers.clone(),
            };
            let listener = bind_for_all(&sockets.directory.join(name))?;
            sockets._tasks.spawn(accept(listener, Arc::new(forwarder)));
        }
        Ok(Some(sockets))
    }

    /// Accepts the processes of `tree` from now on. Only the first call counts.
    pub(super) fn admit(&self, tree: ProcessTree) {
        let _ = self.process_tree.set(tree);
    }
}

async fn accept(listener: UnixListener, forwarder: Arc<Forwarder>) {
    let checks = Arc::new(Semaphore::new(CHECKS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&checks).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let forwarder = Arc::clone(&forwarder);
                tasks.spawn_blocking(move || {
                    if let Err(error) = forwarder.answer(stream) {
                        tracing::debug!(%error, "a connection was not forwarded");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the runner could not accept a connection to the bastion");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

impl Forwarder {
    fn answer(&self, stream: UnixStream) -> io::Result<()> {
        let mut stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let checked = match self.process_tree.get() {
            Some(tree) => tree
                .check_peer(stream.as_fd())
                .map_err(|process| process.to_string()),
            None => Err("the agent's process is not known yet".to_owned()),
        };
        if let Err(reason) = checked {
            // The server records it. If it can't be reached, the process is refused all the same.
            let recorded = self.connect(&format!("refused {reason}")).is_ok();
            tracing::warn!(%reason, recorded, "a process was refused");
            return stream.write_all(format!("breakglass: refused: {reason}\r\n").as_bytes());
        }
        match await_answer(self.connect("enter")?)? {
            BastionAnswer::Accepted(connection) => pass_connection(stream.as_fd(), &connection),
            BastionAnswer::Refused(reason) => stream.write_all(format!("{reason}\r\n").as_bytes()),
        }
    }

    /// Connects to the bastion and sends the credential with `word`.
    fn connect(&self, word: &str) -> io::Result<StdUnixStream> {
        let mut bastion = act_as(self.account, || StdUnixStream::connect(&self.bastion))?;
        // Another process may listen there to get the credential.
        let server = peer_uid(bastion.as_fd())?;
        if !self.servers.contains(&server) {
            return Err(io::Error::other(format!("uid {server} is no server's")));
        }
        bastion.set_write_timeout(Some(WRITE_TIMEOUT))?;
        bastion.write_all(format!("{} {word}\n", self.secret).as_bytes())?;
        Ok(bastion)
    }
}
