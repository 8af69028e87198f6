//! Stands at the sockets of one CLI in the runner's container: who belongs to that CLI is handed a
//! connection to the bastion, which trusts the runner by the pass that came with the order.
//!
//! ```text
//!   the CLI's ssh ──▶ porter: of this CLI? ──▶ bastion: "PASS enter"
//!                 ◀── the connection itself ◀── "SSH-2.0-…"
//! ```
//! The server sees no process of another container, so it can't ask by itself; and what passes over the
//! connection does not pass here.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as Direct;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::listen::Shared;
use crate::account::{Account, act_as};
use crate::child::{Family, account_of};
use crate::door::{Knocked, answer, hand_over};
use crate::start::Plan;
use breakglass_model::gateway::RunnerCredential;

/// Connections that are being let in at once; more wait in the kernel's queue.
const AT_ONCE: usize = 16;
/// How long what is written may take to be read.
const WRITE: Duration = Duration::from_secs(2);
/// How soon is tried again to accept a connection when the system had none to give.
const AGAIN: Duration = Duration::from_millis(100);

/// Where the porters' directories are, beside the runner's own socket.
pub(super) fn root(socket: &Path) -> PathBuf {
    socket.with_file_name("doors")
}

/// The sockets of one CLI; closed and removed by Drop.
pub(super) struct Porter {
    directory: PathBuf,
    family: Arc<OnceLock<Family>>,
    _tasks: JoinSet<()>,
}

impl Drop for Porter {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

/// What each connection needs.
struct Post {
    /// The bastion's socket of the same machine.
    socket: PathBuf,
    secret: String,
    family: Arc<OnceLock<Family>>,
    account: Option<Account>,
    /// The server's account may be one of these.
    servers: Vec<u32>,
}

impl Porter {
    /// Makes the sockets that `plan` asks for, and has it name them in place of the bastion's. None
    /// where it comes without a pass.
    ///
    /// # Errors
    /// What the file system says, and a pass for no directory.
    pub(super) fn stand(plan: &mut Plan, shared: &Shared) -> io::Result<Option<Porter>> {
        let Some(RunnerCredential { variable, secret }) = plan.pass.take() else {
            return Ok(None);
        };
        let named = plan.env.iter_mut().find(|(name, _)| *name == variable);
        let Some((_, directory)) = named else {
            return Err(io::Error::other("its pass is for no directory"));
        };
        let bastion = PathBuf::from(std::mem::take(directory));
        let name = uuid::Uuid::new_v4().simple().to_string();
        let own = root(&shared.options.socket).join(&name[..12]);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o711).create(&own)?;
        *directory = own.display().to_string();
        let mut porter = Porter {
            directory: own,
            family: Arc::default(),
            _tasks: JoinSet::new(),
        };
        for name in [&plan.names.guest, &plan.names.host] {
            let post = Post {
                socket: bastion.join(name),
                secret: secret.clone(),
                family: Arc::clone(&porter.family),
                account: shared.options.agent.account,
                servers: shared.options.peers.clone(),
            };
            let listener = bind(&porter.directory.join(name))?;
            porter._tasks.spawn(accept(listener, Arc::new(post)));
        }
        Ok(Some(porter))
    }

    /// From now on those of `family` are let in.
    pub(super) fn open_to(&self, family: Family) {
        let _first_counts = self.family.set(family);
    }
}

/// Who comes is looked at, so the socket itself is open to all.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, post: Arc<Post>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let post = Arc::clone(&post);
                tasks.spawn_blocking(move || {
                    if let Err(error) = post.attend(stream) {
                        tracing::debug!(%error, "a connection was not handed over");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the porter could not accept a connection");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

impl Post {
    /// Lets one in or sends it away.
    fn attend(&self, stream: UnixStream) -> io::Result<()> {
        let mut stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(WRITE))?;
        let known = match self.family.get() {
            Some(family) => family.admits(stream.as_fd()).map_err(|who| who.to_string()),
            None => Err("nobody is known here yet".to_owned()),
        };
        if let Err(who) = known {
            // The server records it; where it can't be reached, the refusal stands all the same.
            let told = self.connect(&format!("refused {who}"));
            tracing::warn!(%who, told = told.is_ok(), "a process was turned away");
            return stream.write_all(format!("breakglass: refused: {who}\r\n").as_bytes());
        }
        match answer(self.connect("enter")?)? {
            Knocked::In(connection) => hand_over(stream.as_fd(), &connection),
            Knocked::Refused(words) => stream.write_all(format!("{words}\r\n").as_bytes()),
        }
    }

    /// A connection to the bastion, which was shown the pass.
    fn connect(&self, word: &str) -> io::Result<Direct> {
        let mut bastion = act_as(self.account, || Direct::connect(&self.socket))?;
        // What listens there may have been put there by another, who would like to have the pass.
        let server = account_of(bastion.as_fd())?;
        if !self.servers.contains(&server) {
            return Err(io::Error::other(format!("uid {server} is no server's")));
        }
        bastion.set_write_timeout(Some(WRITE))?;
        bastion.write_all(format!("{} {word}\n", self.secret).as_bytes())?;
        Ok(bastion)
    }
}
