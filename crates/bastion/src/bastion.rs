//! The interface of the bastion for the server: conversations, decisions, autonomy and cut-off.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use breakglass_control::ssh::generate_key;
use breakglass_control::{AgentPort, Refusal};
use breakglass_log::LogError;
use breakglass_model::{Actor, Autonomy, Decision, EventBody, IncidentId};
use russh::keys::PrivateKey;
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, cipher};

use crate::approvals::{self, DecideError};
use crate::conversation::{self, BastionConversation};
use crate::history::{self, Settings};
use crate::listener::Service;
use crate::rules::Rules;
use crate::session::{BastionSession, SessionTable};

/// The name under which clients store the bastion's host key; see [`Bastion::known_hosts`].
pub const HOST_KEY_ALIAS: &str = "breakglass-bastion";

/// Maximum number of unread bytes that a client may send. Small, since a unix socket has no latency.
const SSH_WINDOW_BYTES: u32 = 1 << 20;

/// The settings of the bastion.
pub struct BastionOptions {
    /// The directory for the incidents' sockets; created if missing. The path must be short: a socket's path
    /// has at most 107 bytes. `None` if no process connects by a path, and each connection is passed to
    /// [`BastionConversation::receive`].
    pub sockets: Option<PathBuf>,
    /// The uid of the agent's account.
    pub peer: u32,
    /// The agent's autonomy, unless its incident has another one.
    pub autonomy: Autonomy,
    /// The maximum autonomy that an operator can choose; `None` for no maximum.
    pub ceiling: Option<Ceiling>,
    /// The rules for commands that only read.
    pub rules: Rules,
}

/// The maximum autonomy, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// The maximum.
    pub autonomy: Autonomy,
    /// A sentence with the remedy.
    pub why: String,
}

/// Why a request to the bastion failed.
#[derive(Debug, thiserror::Error)]
pub enum BastionError {
    /// The incident's target is not configured any more.
    #[error(transparent)]
    Target(#[from] Refusal),
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The sockets could not be created.
    #[error("the bastion's sockets could not be created in {directory}: {source}")]
    Sockets {
        /// The directory.
        directory: String,
        /// The error.
        source: io::Error,
    },
    /// It is above the ceiling; a sentence.
    #[error("{0}")]
    AboveCeiling(String),
}

/// The bastion of a server. Cheap to clone.
#[derive(Clone)]
pub struct Bastion(Arc<Inner>);

struct Inner {
    port: AgentPort,
    sockets: Option<PathBuf>,
    peer: u32,
    autonomy: Autonomy,
    ceiling: Option<Ceiling>,
    rules: Arc<Rules>,
    config: Arc<Config>,
    known_hosts: String,
    sessions: SessionTable,
    /// Locked while a session is created, so that an incident has one.
    creating: tokio::sync::Mutex<()>,
}

impl Bastion {
    /// A bastion for the targets of `port`, with a new host key.
    ///
    /// # Errors
    /// When the sockets' directory can't be created, or the system provides no random bytes.
    pub fn new(port: AgentPort, options: BastionOptions) -> io::Result<Bastion> {
        let BastionOptions {
            sockets,
            peer,
            autonomy,
            ceiling,
            rules,
        } = options;
        if let Some(sockets) = &sockets {
            create_directory(sockets)?;
        }
        let most = ceiling.as_ref().map(|ceiling| ceiling.autonomy);
        let autonomy = most.map_or(autonomy, |most| autonomy.at_most(most));
        let key = generate_key()?;
        let public = key.public_key().to_openssh().map_err(io::Error::other)?;
        Ok(Bastion(Arc::new(Inner {
            port,
            sockets,
            peer,
            autonomy,
            ceiling,
            rules: Arc::new(rules),
            config: config(key),
            known_hosts: format!("{HOST_KEY_ALIAS} {}\n", public.trim()),
            sessions: SessionTable::default(),
            creating: tokio::sync::Mutex::default(),
        })))
    }

    /// Removes the sockets of all incidents, and their directory. For the shutdown of a server, before the next
    /// one can have started.
    pub fn remove_sockets(&self) {
        if let Some(sockets) = &self.0.sockets {
            let _gone = fs::remove_dir_all(sockets);
        }
    }

    /// The number of open questions.
    #[must_use]
    pub fn open_questions(&self) -> usize {
        let sessions = self.0.sessions.all();
        sessions
            .iter()
            .map(|session| session.approvals.count())
            .sum()
    }

    /// The `known_hosts` line of the bastion, with [`HOST_KEY_ALIAS`] as its name.
    #[must_use]
    pub fn known_hosts(&self) -> &str {
        &self.0.known_hosts
    }

    /// Opens a conversation in `incident`, which concerns `target`, and serves its sockets until the
    /// conversation is dropped.
    ///
    /// # Errors
    /// When there is no such target or incident, or the sockets can't be created.
    pub async fn open(
        &self,
        incident: IncidentId,
        target: &str,
    ) -> Result<BastionConversation, BastionError> {
        let session = self.session(incident, target).await?;
        let config = Arc::clone(&self.0.config);
        let service = Service::new(&session, self.0.sessions.clone(), config, self.0.peer);
        let mut conversation = BastionConversation::new(session, service);
        if let Some(sockets) = &self.0.sockets {
            // Short, and never used twice: an earlier conversation's sockets may just be being removed.
            let name = uuid::Uuid::new_v4().simple().to_string();
            let directory = sockets.join(&name[..12]);
            conversation
                .listen(&directory)
                .map_err(|source| BastionError::Sockets {
                    directory: directory.display().to_string(),
                    source,
                })?;
        }
        Ok(conversation)
    }

    /// Decides on an open question. Returns when the decision took effect.
    ///
    /// # Errors
    /// See [`DecideError`].
    pub async fn decide(
        &self,
        incident: IncidentId,
        approval: &str,
        (decision, note): (Decision, Option<String>),
        actor: Actor,
    ) -> Result<(), DecideError> {
        match self.0.sessions.get(incident) {
            Some(session) => {
                session
                    .approvals
                    .decide(approval, decision, note, actor)
                    .await
            }
            None => Err(approvals::settled(self.0.port.log(), incident, approval).await),
        }
    }

    /// The maximum autonomy, if there is one.
    #[must_use]
    pub fn ceiling(&self) -> Option<&Ceiling> {
        self.0.ceiling.as_ref()
    }

    /// Sets the autonomy of the agent of `incident`.
    ///
    /// # Errors
    /// When there is no such target or incident, it is above the ceiling, or the log does not accept it: then
    /// nothing has changed.
    pub async fn set_autonomy(
        &self,
        incident: IncidentId,
        target: &str,
        autonomy: Autonomy,
        actor: Actor,
    ) -> Result<(), BastionError> {
        let session = self.session(incident, target).await?;
        if let Some(ceiling) = self.0.ceiling.as_ref()
            && autonomy.at_most(ceiling.autonomy) != autonomy
        {
            return Err(BastionError::AboveCeiling(ceiling.why.clone()));
        }
        let changed = EventBody::AutonomyChanged { autonomy };
        session.log().append(incident, actor, changed).await?;
        session.set_autonomy(autonomy);
        Ok(())
    }

    /// Cuts off the agent of `incident` at once, even if that can't be recorded, and ends its commands; or
    /// lifts the cut-off.
    ///
    /// # Errors
    /// When there is no such target or incident, or the log does not accept the lifting: then the agent stays
    /// cut off.
    pub async fn set_cut_off(
        &self,
        incident: IncidentId,
        target: &str,
        cut_off: bool,
        actor: Actor,
    ) -> Result<(), BastionError> {
        let session = self.session(incident, target).await?;
        let changed = EventBody::CutOffChanged { cut_off };
        if cut_off {
            session.set_cut_off(true);
            session.log().record(incident, actor, changed).await;
            conversation::end_commands(&session).await;
        } else {
            session.log().append(incident, actor, changed).await?;
            session.set_cut_off(false);
        }
        Ok(())
    }

    /// Reads the settings of `incident`, and records an autonomy that is adopted from an earlier incident. Also
    /// done before the agent may do anything.
    ///
    /// # Errors
    /// When there is no such target or incident, or the log can't be read or written.
    pub async fn prepare(&self, incident: IncidentId, target: &str) -> Result<(), BastionError> {
        self.session(incident, target).await.map(drop)
    }

    /// The settings of `incident`. An operator's choice for the target applies to new incidents as well, whether
    /// it allows more or less than the configuration; adopting it is recorded.
    async fn settings(&self, incident: IncidentId) -> Result<Settings, LogError> {
        let log = self.0.port.log();
        let mut settings = history::settings(log, incident).await?;
        let recorded = settings.autonomy;
        if recorded.is_none() {
            settings.autonomy = history::chosen_before(log, incident).await?;
        }
        let most = self.0.ceiling.as_ref().map(|ceiling| ceiling.autonomy);
        settings.autonomy = settings
            .autonomy
            .map(|chosen| most.map_or(chosen, |most| chosen.at_most(most)));
        let shown = recorded.unwrap_or(self.0.autonomy);
        if let Some(autonomy) = settings.autonomy.filter(|chosen| *chosen != shown) {
            let adopted = EventBody::AutonomyChanged { autonomy };
            log.append(incident, Actor::System, adopted).await?;
        }
        Ok(settings)
    }

    async fn session(
        &self,
        incident: IncidentId,
        target: &str,
    ) -> Result<Arc<BastionSession>, BastionError> {
        if let Some(session) = self.0.sessions.get(incident) {
            return Ok(session);
        }
        let _lock = self.0.creating.lock().await;
        if let Some(session) = self.0.sessions.get(incident) {
            return Ok(session);
        }
        let target = self.0.port.target(target)?;
        let settings = self.settings(incident).await?;
        let rules = Arc::clone(&self.0.rules);
        let autonomy = settings.autonomy.unwrap_or(self.0.autonomy);
        let session = BastionSession::new(incident, target, rules, autonomy, settings.cut_off);
        let session = Arc::new(session);
        self.0.sessions.insert(&session);
        Ok(session)
    }
}

impl std::fmt::Debug for Bastion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bastion")
            .field("sockets", &self.0.sockets)
            .finish_non_exhaustive()
    }
}

/// Creates the directory of all sockets, without what an earlier server left there.
fn create_directory(sockets: &Path) -> io::Result<()> {
    let _gone = fs::remove_dir_all(sockets);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(sockets)?;
    // In a directory that others can write to, another account may have created it first.
    if fs::symlink_metadata(sockets)?.uid() != rustix::process::geteuid().as_raw() {
        let taken = format!("{} belongs to another account", sockets.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, taken));
    }
    Ok(())
}

fn config(key: PrivateKey) -> Arc<Config> {
    Arc::new(Config {
        methods: MethodSet::from(&[MethodKind::None][..]),
        keys: vec![key],
        window_size: SSH_WINDOW_BYTES,
        // The kernel reports at once when the other end of a unix socket is gone.
        inactivity_timeout: None,
        preferred: Preferred {
            // The client's order decides, and OpenSSH's starts with a slower cipher.
            cipher: std::borrow::Cow::Borrowed(&[cipher::AES_128_GCM, cipher::AES_256_GCM]),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    })
}
