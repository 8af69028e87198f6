//! The bastion: an SSH server on a unix socket, through which every command of the agent passes to
//! guest or gate.
//!
//! ```text
//!  agent's ssh ─ listener ─ session ─ work ─┬─ relay ─ upstream ─ guest     recorder, book: the record
//!   (no key)     (socket,            │      └─ verb ── power::queue ─ gate  remote: ends what is left
//!                 guard, crowd)    seat ─ policy, approvals
//! ```
//! A *seat* is what is known of one incident: how much its agent may do, which turn runs, what it waits
//! for. A *post* is a seat that a conversation has taken, with the sockets that are served for it. The
//! agent holds no key, no address and no way round: it is given the path of the sockets, which serve its own
//! processes alone (`guard`).

#![forbid(unsafe_code)]

mod approvals;
mod book;
mod caller;
mod crowd;
mod errand;
mod guard;
mod history;
mod listener;
mod policy;
mod post;
mod recorder;
mod relay;
mod remote;
mod rules;
mod seat;
mod session;
mod verb;
mod work;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use breakglass_log::LogError;
use breakglass_model::{Actor, Autonomy, Decision, EventBody, IncidentId};
use russh::keys::PrivateKey;
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, cipher};

pub use approvals::DecideError;
pub use post::Post;
pub use remote::SCRIPT_NAME;
pub use rules::{Judgement, RuleFault, Rules, RulesError, Word, split};

use breakglass_control::AgentPort;
use breakglass_control::Refusal;
use breakglass_control::ssh::generate_key;
use history::Settings;
use listener::Service;
use seat::Seat;

/// The name under which clients know the bastion's key; see [`Bastion::known_hosts`].
pub const HOST_KEY_ALIAS: &str = "breakglass-bastion";

/// Seats that are remembered; those without a post are forgotten first.
const SEATS: usize = 256;
/// What a client may send before it is read. Small: on a unix socket the way is short.
const WINDOW: u32 = 1 << 20;

/// How the bastion is set up.
pub struct BastionOptions {
    /// The directory for the incidents' sockets; made where missing. A short path: a socket's name has
    /// 107 bytes at the most. None where no process finds its way by a path, and each connection is given
    /// to [`Post::receive`].
    pub sockets: Option<PathBuf>,
    /// The account that the agent runs as, by number.
    pub peer: u32,
    /// What an agent may do without asking, unless its incident says otherwise.
    pub autonomy: Autonomy,
    /// The most that it may do without asking, whatever an operator chooses; none for everything.
    pub ceiling: Option<Ceiling>,
    /// Which commands only read.
    pub rules: Rules,
}

/// The most that an agent may do without asking, and why no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// The most.
    pub autonomy: Autonomy,
    /// A sentence, with the remedy.
    pub why: String,
}

/// Why something at the bastion was not done.
#[derive(Debug, thiserror::Error)]
pub enum BastionError {
    /// The incident's target is not configured any more.
    #[error(transparent)]
    Target(#[from] Refusal),
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The sockets could not be made.
    #[error("the bastion's sockets could not be made in {directory}: {source}")]
    Sockets {
        /// Where.
        directory: String,
        /// Why.
        source: io::Error,
    },
    /// It is more than the agent may do here; a sentence.
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
    seats: Seats,
    /// Held while a seat is made, so that an incident has one.
    making: tokio::sync::Mutex<()>,
}

/// All seats. Cheap to clone; every clone is the same.
#[derive(Clone, Default)]
struct Seats(Arc<Mutex<HashMap<IncidentId, Arc<Seat>>>>);

impl Seats {
    fn lock(&self) -> MutexGuard<'_, HashMap<IncidentId, Arc<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Seat>> {
        self.lock().values().cloned().collect()
    }
}

impl Bastion {
    /// A bastion in front of the targets of `port`, with a host key of its own that lives as long as it does.
    ///
    /// # Errors
    /// When the sockets' directory can't be made, or the system gives no random bytes.
    pub fn new(port: AgentPort, options: BastionOptions) -> io::Result<Bastion> {
        let BastionOptions {
            sockets,
            peer,
            autonomy,
            ceiling,
            rules,
        } = options;
        if let Some(sockets) = &sockets {
            make_fresh(sockets)?;
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
            seats: Seats::default(),
            making: tokio::sync::Mutex::default(),
        })))
    }

    /// Removes the sockets of all incidents, and their directory; for a server's end, while the next
    /// one can't have begun.
    pub fn remove_sockets(&self) {
        if let Some(sockets) = &self.0.sockets {
            let _gone = fs::remove_dir_all(sockets);
        }
    }

    /// How many questions wait for an answer now.
    #[must_use]
    pub fn open_questions(&self) -> usize {
        let seats = self.0.seats.lock();
        seats.values().map(|seat| seat.approvals.count()).sum()
    }

    /// The line by which OpenSSH's client knows the bastion, with [`HOST_KEY_ALIAS`].
    #[must_use]
    pub fn known_hosts(&self) -> &str {
        &self.0.known_hosts
    }

    /// Takes the seat of `incident`, which is about `target`, and serves its sockets for as long as the
    /// post is held.
    ///
    /// # Errors
    /// When there is no such target or incident, or no sockets can be made.
    pub async fn open(&self, incident: IncidentId, target: &str) -> Result<Post, BastionError> {
        let seat = self.seat(incident, target).await?;
        let config = Arc::clone(&self.0.config);
        let service = Service::new(&seat, self.0.seats.clone(), config, self.0.peer);
        let mut post = Post::new(seat, service);
        if let Some(sockets) = &self.0.sockets {
            // Short and never used again: sockets that are just being removed are another's.
            let name = uuid::Uuid::new_v4().simple().to_string();
            let directory = sockets.join(&name[..12]);
            post.listen(&directory)
                .map_err(|source| BastionError::Sockets {
                    directory: directory.display().to_string(),
                    source,
                })?;
        }
        Ok(post)
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
        let seat = self.0.seats.lock().get(&incident).map(Arc::clone);
        match seat {
            Some(seat) => seat.approvals.decide(approval, decision, note, actor).await,
            None => Err(approvals::settled(self.0.port.log(), incident, approval).await),
        }
    }

    /// The most that any agent may do here without asking; none where that is for people to say.
    #[must_use]
    pub fn ceiling(&self) -> Option<&Ceiling> {
        self.0.ceiling.as_ref()
    }

    /// Sets how much the agent of `incident` may do without asking.
    ///
    /// # Errors
    /// When there is no such target or incident, it is above the ceiling, or the log does not take it: then
    /// nothing has changed.
    pub async fn set_autonomy(
        &self,
        incident: IncidentId,
        target: &str,
        autonomy: Autonomy,
        actor: Actor,
    ) -> Result<(), BastionError> {
        let seat = self.seat(incident, target).await?;
        if let Some(ceiling) = self.0.ceiling.as_ref()
            && autonomy.at_most(ceiling.autonomy) != autonomy
        {
            return Err(BastionError::AboveCeiling(ceiling.why.clone()));
        }
        let changed = EventBody::AutonomyChanged { autonomy };
        seat.log().append(incident, actor, changed).await?;
        seat.set_autonomy(autonomy);
        Ok(())
    }

    /// Closes the bastion to the agent of `incident`, at once and whether it can be recorded or not,
    /// and ends its commands; or opens it again.
    ///
    /// # Errors
    /// When there is no such target or incident, or the log does not take the opening: then it stays
    /// closed.
    pub async fn set_cut_off(
        &self,
        incident: IncidentId,
        target: &str,
        cut_off: bool,
        actor: Actor,
    ) -> Result<(), BastionError> {
        let seat = self.seat(incident, target).await?;
        let changed = EventBody::CutOffChanged { cut_off };
        if cut_off {
            seat.set_cut_off(true);
            seat.log().record(incident, actor, changed).await;
            post::end_commands(&seat).await;
        } else {
            seat.log().append(incident, actor, changed).await?;
            seat.set_cut_off(false);
        }
        Ok(())
    }

    /// Reads how much the agent of `incident` may do, and records it where it is taken over from an earlier
    /// incident. Done in any case before its agent may do anything.
    ///
    /// # Errors
    /// When there is no such target or incident, or the log can't be read or written.
    pub async fn prepare(&self, incident: IncidentId, target: &str) -> Result<(), BastionError> {
        self.seat(incident, target).await.map(drop)
    }

    /// What an operator chose for this target holds in a new incident too, be it more or less than what is
    /// configured; that it does is in the log.
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
            let taken_over = EventBody::AutonomyChanged { autonomy };
            log.append(incident, Actor::System, taken_over).await?;
        }
        Ok(settings)
    }

    async fn seat(&self, incident: IncidentId, target: &str) -> Result<Arc<Seat>, BastionError> {
        if let Some(seat) = self.0.seats.lock().get(&incident) {
            return Ok(Arc::clone(seat));
        }
        let _one = self.0.making.lock().await;
        if let Some(seat) = self.0.seats.lock().get(&incident) {
            return Ok(Arc::clone(seat));
        }
        let target = self.0.port.target(target)?;
        let settings = self.settings(incident).await?;
        let rules = Arc::clone(&self.0.rules);
        let leave = (self.0.autonomy, settings);
        let seat = Arc::new(Seat::new(incident, target, rules, leave));
        let mut seats = self.0.seats.lock();
        if seats.len() >= SEATS {
            seats.retain(|_, seat| Arc::strong_count(seat) > 1);
        }
        seats.insert(incident, Arc::clone(&seat));
        Ok(seat)
    }
}

impl std::fmt::Debug for Bastion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bastion")
            .field("sockets", &self.0.sockets)
            .finish_non_exhaustive()
    }
}

/// Makes the directory of all sockets anew: what an earlier server left there is nobody's.
fn make_fresh(sockets: &Path) -> io::Result<()> {
    let _gone = fs::remove_dir_all(sockets);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(sockets)?;
    // Below a directory that others can write to, somebody may have made it first.
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
        window_size: WINDOW,
        // The kernel tells at once when the other end of a unix socket is gone.
        inactivity_timeout: None,
        preferred: Preferred {
            // The client's order counts, and OpenSSH's begins with a slower one.
            cipher: std::borrow::Cow::Borrowed(&[cipher::AES_128_GCM, cipher::AES_256_GCM]),
            ..Preferred::DEFAULT
        },
        ..Config::default()
    })
}
