//! The agents that there are: the first is asked unless a prompt names another one.

use std::fs::File;
use std::sync::Arc;

use tokio::time::{Duration, Instant};

use crate::cell;
use crate::child::{self, Launcher};
use crate::health::{self, Login};
use crate::{AgentHealth, AgentOptions};

/// How long the answer of an agent's CLI to `--version` holds.
const HEALTH_LIFE: Duration = Duration::from_secs(60);
/// How long one holds that it does not work.
const SICK_LIFE: Duration = Duration::from_secs(5);

/// One agent, and what all of its conversations share.
pub(crate) struct Member {
    pub(crate) options: AgentOptions,
    pub(crate) launcher: Launcher,
    pub(crate) login: Login,
    health: tokio::sync::Mutex<Option<(Instant, AgentHealth)>>,
    /// Says that the cell's processes are this server's.
    _cell: Option<File>,
}

impl Member {
    fn new(options: AgentOptions) -> Member {
        let launcher = Launcher::start(options.account, options.walls.clone());
        let here = options.runner.is_none();
        let cell = here.then(|| cell::claim(&options)).flatten();
        if cell.is_some() {
            // What a server that was killed has left: its CLI is gone, a tool may not be.
            launcher.sweep_later(child::mark_of(&options.home.to_string_lossy()));
        }
        Member {
            options,
            launcher,
            login: Login::default(),
            health: tokio::sync::Mutex::new(None),
            _cell: cell,
        }
    }

    /// Whether its CLI can work. The answer may be a minute old.
    pub(crate) async fn health(&self) -> AgentHealth {
        let mut last = self.health.lock().await;
        let fresh = last.as_ref().filter(|(at, health)| {
            let life = match health.available {
                true => HEALTH_LIFE,
                false => SICK_LIFE,
            };
            at.elapsed() < life
        });
        let health = match fresh {
            Some((_, health)) => health.clone(),
            None => {
                let health = health::examine(&self.options, &self.launcher).await;
                *last = Some((Instant::now(), health.clone()));
                health
            }
        };
        health.with_login(&self.login)
    }
}

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Crew(Arc<[Member]>);

impl Crew {
    /// At least one, `first`; no two have one name.
    pub(crate) fn new(first: AgentOptions, others: Vec<AgentOptions>) -> Crew {
        let all = std::iter::once(first).chain(others);
        Crew(all.map(Member::new).collect())
    }

    pub(crate) fn first(&self) -> &Member {
        &self.0[0]
    }

    /// The one of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Member> {
        self.0.iter().find(|member| member.options.name == name)
    }

    pub(crate) fn all(&self) -> &[Member] {
        &self.0
    }

    /// Whether a prompt has a choice.
    pub(crate) fn is_several(&self) -> bool {
        self.0.len() > 1
    }
}
