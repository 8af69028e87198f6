//! The configured agents. A prompt that names none goes to the first.

use std::fs::File;
use std::sync::Arc;

use tokio::time::{Duration, Instant};

use crate::child::{Spawner, mark_prefix};
use crate::health::{AgentHealth, check_health};
use crate::login::LoginState;
use crate::{AgentOptions, cell};

/// How long a healthy answer to `--version` is cached.
const HEALTHY_CACHE_TIME: Duration = Duration::from_secs(60);
/// How long an unhealthy one is.
const UNHEALTHY_CACHE_TIME: Duration = Duration::from_secs(5);

/// One agent, with what all of its conversations share.
pub(crate) struct RosterEntry {
    pub(crate) options: AgentOptions,
    pub(crate) spawner: Spawner,
    pub(crate) login: LoginState,
    health: tokio::sync::Mutex<Option<(Instant, AgentHealth)>>,
    /// Makes this server the owner of the cell's processes.
    _cell_lock: Option<File>,
}

impl RosterEntry {
    fn new(options: AgentOptions) -> RosterEntry {
        let spawner = Spawner::start(options.account, options.confinement.clone());
        let is_local = options.runner.is_none();
        let cell_lock = is_local.then(|| cell::lock(&options)).flatten();
        if cell_lock.is_some() {
            // Kills leftovers of a killed server: its CLI is gone, but a tool may still run.
            spawner.sweep_later(mark_prefix(&options.home.to_string_lossy()));
        }
        RosterEntry {
            options,
            spawner,
            login: LoginState::default(),
            health: tokio::sync::Mutex::new(None),
            _cell_lock: cell_lock,
        }
    }

    /// Whether its CLI can work; at most a minute old.
    pub(crate) async fn health(&self) -> AgentHealth {
        let mut cached = self.health.lock().await;
        let fresh = cached.as_ref().filter(|(checked, health)| {
            let cache_time = if health.available {
                HEALTHY_CACHE_TIME
            } else {
                UNHEALTHY_CACHE_TIME
            };
            checked.elapsed() < cache_time
        });
        let health = match fresh {
            Some((_, health)) => health.clone(),
            None => {
                let health = check_health(&self.options, &self.spawner).await;
                *cached = Some((Instant::now(), health.clone()));
                health
            }
        };
        health.with_login_state(self.login.refusal())
    }
}

/// All agents; at least one. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AgentRoster(Arc<[RosterEntry]>);

impl AgentRoster {
    /// The names of all agents differ.
    pub(crate) fn new(first: AgentOptions, others: Vec<AgentOptions>) -> AgentRoster {
        let all = std::iter::once(first).chain(others);
        AgentRoster(all.map(RosterEntry::new).collect())
    }

    pub(crate) fn first(&self) -> &RosterEntry {
        &self.0[0]
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RosterEntry> {
        self.0.iter().find(|entry| entry.options.name == name)
    }

    pub(crate) fn get_or_first(&self, name: Option<&str>) -> &RosterEntry {
        let named = name.and_then(|name| self.get(name));
        named.unwrap_or_else(|| self.first())
    }

    pub(crate) fn all(&self) -> &[RosterEntry] {
        &self.0
    }

    pub(crate) fn has_several(&self) -> bool {
        self.0.len() > 1
    }
}
