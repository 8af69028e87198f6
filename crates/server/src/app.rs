//! Build, spawn, drain: the one place where the parts are put together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use breakglass_cell::{Kind, Outbound, allowed_hosts, build_agents};
use breakglass_config::{Config, RECORD_FILE, ssh_options};
use breakglass_control::{Control, Pictures};
use breakglass_log::Log;
use breakglass_model::{Actor, EventBody, Level};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::hold::{Hold, Taken};
use crate::http::{self, AppState, Ends, ListenLimits, Services, Turned};

/// The directory under `data_dir` for the screen as it was before each verb.
const PICTURES: &str = "pictures";

/// How often retention looks whether incidents have become too old.
const TEND_EVERY: Duration = Duration::from_secs(3600);

/// How long running verbs, turns and streams are waited for when the server ends.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// The part of all connections that may come from the server's own addresses, where an agent has them too,
/// so that it keeps no others out: one in so many.
const BESIDE: usize = 8;

/// For what the server is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// A real target.
    Serve,
    /// A rehearsal.
    Drill {
        /// What is wrong with the simulated machine, as a sentence.
        scenario: String,
    },
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory or file can't be written.
    #[error(
        "{path} can't be written: {source}; make it writable for this user, or change data_dir"
    )]
    Write {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] breakglass_control::ssh::KeyError),
    /// The identity settings can't be used.
    #[error(transparent)]
    Auth(#[from] crate::auth::AuthError),
    /// Another server has the data directory.
    #[error(transparent)]
    Taken(#[from] Taken),
}

/// A server that is built and not yet serving.
pub struct App {
    state: AppState,
    config: Config,
    mode: Mode,
    cancel: CancellationToken,
    tracker: TaskTracker,
    /// Until everything is written.
    hold: Hold,
}

impl App {
    /// Puts the parts together. A record that can't be written does not stop it: power works on.
    ///
    /// # Errors
    /// When the data directory, the key or the identity settings can't be used, or another server has
    /// the directory.
    pub async fn build(mut config: Config, mode: Mode) -> Result<App, StartError> {
        let data_dir = &config.data_dir;
        std::fs::create_dir_all(data_dir).map_err(|source| unwritable(data_dir, source))?;
        let hold = Hold::take_over(data_dir).await?;
        let cancel = CancellationToken::new();
        let tracker = TaskTracker::new();
        let key = Arc::new(breakglass_control::ssh::load_key(&config.ssh.key_file)?);
        let auth = Auth::new(&config.auth, &config.allowed_hosts, &config.guests())?;
        let ends = Ends::default();
        let log = Log::open(journal_options(&config, &mode, &ends));
        if let Err(error) = log.recover().await {
            tracing::error!(%error, "what an earlier end left open was not closed");
        }
        let fingerprint = key.fingerprint(Default::default()).to_string();
        let (control, agent_port) = Control::new(
            config.targets.clone(),
            ssh_options(&config, key),
            log.clone(),
            Pictures::under(data_dir.join(PICTURES)),
            cancel.clone(),
            tracker.clone(),
        );
        let kind = Kind::choose(&config.agent);
        if let Some(ceiling) = kind.as_ref().ok().and_then(Kind::ceiling) {
            config.agent.autonomy = config.agent.autonomy.at_most(ceiling.autonomy);
            tracing::warn!("{}", ceiling.why);
        }
        let outbound = Outbound::new(allowed_hosts(&config), log.clone(), tracker.clone());
        let (agents, bastion) = match build_agents(&config, (&log, agent_port), kind, outbound) {
            Ok((agents, bastion)) => (Ok(agents), Some(bastion)),
            Err(why) => (Err(why), None),
        };
        let services = Services {
            log,
            control,
            agents,
            bastion,
            auth,
            ends,
        };
        let drill = mode != Mode::Serve;
        let state = AppState::new(&config, services, drill, fingerprint, cancel.clone());
        Ok(App {
            state,
            config,
            mode,
            cancel,
            tracker,
            hold,
        })
    }

    /// The log of its incidents.
    #[must_use]
    pub fn log(&self) -> Log {
        self.state.log.clone()
    }

    /// A code that signs one browser in, once.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn sign_in_code(&self) -> Result<String, StartError> {
        Ok(self
            .state
            .auth
            .one_time_code(&self.config.auth.token_identity)?)
    }

    /// Opens an incident for every target, so that the page has something to show, unless one
    /// is open already.
    pub async fn rehearse(&self) {
        let Mode::Drill { scenario } = &self.mode else {
            return;
        };
        let log = &self.state.log;
        for target in &self.config.targets {
            if let Ok(Some(_)) = log.open_incident_for(&target.name).await {
                continue;
            }
            let Ok(incident) = log.open_incident(&target.name, Actor::System, true).await else {
                continue;
            };
            let message = format!("This is a drill on a simulated machine. {scenario}");
            let notice = EventBody::Notice {
                level: Level::Info,
                code: "drill".to_owned(),
                message,
            };
            log.record(incident, Actor::System, notice).await;
            if let Ok(agents) = &self.state.agents {
                agents.warm(incident);
            }
        }
    }

    /// Serves until `end` resolves, then drains: no new work, verbs to their end or the limit,
    /// turns stopped, streams closed, the record written.
    ///
    /// `metrics` serves `/metrics` to whoever gets there; without it they need an identity.
    pub async fn run(
        self,
        listener: TcpListener,
        metrics: Option<TcpListener>,
        end: impl Future<Output = ()>,
    ) {
        let router = http::router(self.state.clone());
        let connections = self.config.limits.connections;
        let limits = ListenLimits {
            connections,
            own: match self.state.about.agent_beside {
                true => (connections / BESIDE).max(1),
                false => connections,
            },
            ..ListenLimits::default()
        };
        let turned = self.state.turned.clone();
        let serving = http::serve(
            listener,
            router,
            limits.clone(),
            turned,
            self.cancel.clone(),
        );
        self.tracker.spawn(serving);
        if let Some(listener) = metrics {
            let (router, turned) = (http::metrics_router(self.state.clone()), Turned::default());
            let serving = http::serve(listener, router, limits, turned, self.cancel.clone());
            self.tracker.spawn(serving);
        }
        if self.mode == Mode::Serve {
            let (state, cancel) = (&self.state, self.cancel.clone());
            let telling =
                breakglass_readiness::tell_incidents(state.findings.changes(), state.log.clone());
            let watching =
                breakglass_readiness::watch(state.findings.clone(), state.agents.clone());
            self.tracker.spawn(async move {
                let both = async { tokio::join!(telling, watching) };
                cancel.run_until_cancelled(both).await;
            });
        }
        let (log, cancel) = (self.state.log.clone(), self.cancel.clone());
        let tending = async move { cancel.run_until_cancelled(tend(log)).await };
        self.tracker.spawn(tending);
        self.state.notifier.start(breakglass_notify::Sources {
            log: self.state.log.clone(),
            control: self.state.control.clone(),
            findings: self.state.findings.clone(),
        });
        end.await;
        tracing::info!("ending: no new work is taken");
        self.cancel.cancel();
        self.tracker.close();
        let drain = async {
            if let Ok(agents) = &self.state.agents {
                agents.shutdown().await;
            }
            self.tracker.wait().await;
        };
        if tokio::time::timeout(DRAIN_LIMIT, drain).await.is_err() {
            tracing::warn!("not everything ended within {DRAIN_LIMIT:?}; ending all the same");
        }
        self.state.notifier.shutdown().await;
        if let Some(bastion) = &self.state.bastion {
            bastion.remove_sockets();
        }
        // Last, and in any case: what was queued until now is written.
        self.state.log.shutdown();
        drop(self.hold);
    }
}

fn unwritable(path: &std::path::Path, source: std::io::Error) -> StartError {
    StartError::Write {
        path: path.display().to_string(),
        source,
    }
}

fn journal_options(config: &Config, mode: &Mode, ends: &Ends) -> breakglass_log::Options {
    let mut options = breakglass_log::Options::at(config.data_dir.join(RECORD_FILE));
    options.on_completion = Some(ends.sink());
    (options.keep, options.max_bytes) = (config.record.keep, config.record.max_bytes);
    let pictures = Pictures::under(config.data_dir.join(PICTURES));
    options.on_forgotten = Some(Box::new(move |operation| pictures.forget(operation)));
    if *mode == Mode::Serve {
        options.on_event = Some(Box::new(ship));
    }
    options
}

/// Lets the record notice that time went by.
async fn tend(log: Log) {
    let mut ticks = tokio::time::interval(TEND_EVERY);
    loop {
        ticks.tick().await;
        log.run_retention();
    }
}

/// Each durable event as one line on standard output, for whatever ships logs.
fn ship(line: &[u8]) {
    use std::io::Write as _;
    // A closed pipe costs the shipped copy, not the record.
    let _ = std::io::stdout().lock().write_all(line);
}
