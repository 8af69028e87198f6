//! The server as a whole: builds the parts, spawns their tasks, and drains them on shutdown.
//!
//! The parts do their work in their own crates; this module connects them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use breakglass_cell::{Kind, Outbound, allowed_hosts, build_agents};
use breakglass_config::{Config, LOG_FILE, ssh_options};
use breakglass_control::{Control, Pictures};
use breakglass_log::Log;
use breakglass_model::{Actor, EventBody, Level};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::http::{self, AppState, ListenLimits, Services};
use crate::instance_lock::{AlreadyLocked, InstanceLock};
use crate::metrics::{CompletionCounters, ListenerCounters};

/// The directory under `data_dir` for screenshots from before each verb.
const PICTURES_DIR: &str = "pictures";

/// Interval at which old incidents are removed.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3600);

/// Longest wait for running verbs, turns and streams on shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// If the agent shares the server's addresses, one in this many connections may come from them, so
/// that the agent can't use up all connections.
const LOCAL_CONNECTIONS_DIVISOR: usize = 8;

/// The purpose of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Serves real targets.
    Serve,
    /// Serves a drill on simulated targets.
    Drill {
        /// The fault of the simulated machine, as a sentence.
        scenario: String,
    },
}

/// The reason why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory or file can't be written.
    #[error(
        "{path} can't be written: {source}; make it writable for this user, or change data_dir"
    )]
    Write {
        /// The directory or file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] breakglass_control::ssh::KeyError),
    /// The identity settings can't be used.
    #[error(transparent)]
    Auth(#[from] crate::auth::AuthError),
    /// Another server uses the data directory.
    #[error(transparent)]
    AlreadyLocked(#[from] AlreadyLocked),
}

/// A server that is built and not yet serving.
pub struct App {
    state: AppState,
    config: Config,
    mode: Mode,
    cancel: CancellationToken,
    tracker: TaskTracker,
    /// Released after everything is written.
    instance_lock: InstanceLock,
}

impl App {
    /// Builds and connects the parts. A log that can't be written is no error, because power must
    /// work without it.
    ///
    /// # Errors
    /// If the data directory, the key or the identity settings can't be used, or another server uses
    /// the directory.
    pub async fn build(mut config: Config, mode: Mode) -> Result<App, StartError> {
        let data_dir = &config.data_dir;
        std::fs::create_dir_all(data_dir).map_err(|source| unwritable(data_dir, source))?;
        let instance_lock = InstanceLock::acquire_with_retry(data_dir).await?;
        let cancel = CancellationToken::new();
        let tracker = TaskTracker::new();
        let key = Arc::new(breakglass_control::ssh::load_key(&config.ssh.key_file)?);
        let auth = Auth::new(&config.auth, &config.allowed_hosts, &config.guests())?;
        let completions = CompletionCounters::default();
        let log = Log::open(log_options(&config, &mode, &completions));
        if let Err(error) = log.recover().await {
            tracing::error!(%error, "operations and turns that a crash interrupted could not be closed");
        }
        let fingerprint = key.fingerprint(Default::default()).to_string();
        let (control, agent_port) = Control::new(
            config.targets.clone(),
            ssh_options(&config, key),
            log.clone(),
            Pictures::under(data_dir.join(PICTURES_DIR)),
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
            Err(reason) => (Err(reason), None),
        };
        let services = Services {
            log,
            control,
            agents,
            bastion,
            auth,
            completions,
        };
        let drill = mode != Mode::Serve;
        let state = AppState::new(&config, services, drill, fingerprint, cancel.clone());
        Ok(App {
            state,
            config,
            mode,
            cancel,
            tracker,
            instance_lock,
        })
    }

    /// The incident log.
    #[must_use]
    pub fn log(&self) -> Log {
        self.state.log.clone()
    }

    /// A code for one sign-in of one browser.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn sign_in_code(&self) -> Result<String, StartError> {
        Ok(self
            .state
            .auth
            .one_time_code(&self.config.auth.token_identity)?)
    }

    /// In a drill, opens an incident for every target without an open one, so that the page shows it
    /// at once.
    pub async fn open_drill_incidents(&self) {
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

    /// Serves until `end` resolves, then drains: refuses new work, waits for verbs up to the timeout,
    /// stops turns, closes streams, and writes the rest of the log.
    ///
    /// `metrics` is a listener for `/metrics` without an identity.
    pub async fn run(
        self,
        listener: TcpListener,
        metrics: Option<TcpListener>,
        end: impl Future<Output = ()>,
    ) {
        let router = http::router(self.state.clone());
        let limits = self.listen_limits();
        self.tracker.spawn(http::serve(
            listener,
            router,
            limits.clone(),
            self.state.listener_counters.clone(),
            self.cancel.clone(),
        ));
        if let Some(listener) = metrics {
            let router = http::metrics_router(self.state.clone());
            let counters = ListenerCounters::default();
            let serving = http::serve(listener, router, limits, counters, self.cancel.clone());
            self.tracker.spawn(serving);
        }
        if self.mode == Mode::Serve {
            let state = &self.state;
            let cancel = self.cancel.clone();
            let telling =
                breakglass_readiness::record_changes(state.findings.changes(), state.log.clone());
            let watching =
                breakglass_readiness::watch(state.findings.clone(), state.agents.clone());
            self.tracker.spawn(async move {
                let both = async { tokio::join!(telling, watching) };
                cancel.run_until_cancelled(both).await;
            });
        }
        let log = self.state.log.clone();
        let cancel = self.cancel.clone();
        let retention = async move { cancel.run_until_cancelled(apply_retention(log)).await };
        self.tracker.spawn(retention);
        self.state.notifier.start(breakglass_notify::Sources {
            log: self.state.log.clone(),
            control: self.state.control.clone(),
            readiness: self.state.findings.clone(),
        });
        end.await;
        tracing::info!("shutting down: new work is refused");
        self.cancel.cancel();
        self.tracker.close();
        let drain = async {
            if let Ok(agents) = &self.state.agents {
                agents.shutdown().await;
            }
            self.tracker.wait().await;
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, drain).await.is_err() {
            tracing::warn!("some tasks did not finish within {DRAIN_TIMEOUT:?}; exiting anyway");
        }
        self.state.notifier.shutdown().await;
        if let Some(bastion) = &self.state.bastion {
            bastion.remove_sockets();
        }
        // Last, so that all queued events are written.
        self.state.log.shutdown();
        drop(self.instance_lock);
    }

    fn listen_limits(&self) -> ListenLimits {
        let max_connections = self.config.limits.connections;
        let max_local_connections = if self.state.info.agent_shares_addresses {
            (max_connections / LOCAL_CONNECTIONS_DIVISOR).max(1)
        } else {
            max_connections
        };
        ListenLimits {
            max_connections,
            max_local_connections,
            ..ListenLimits::default()
        }
    }
}

fn unwritable(path: &std::path::Path, source: std::io::Error) -> StartError {
    StartError::Write {
        path: path.display().to_string(),
        source,
    }
}

fn log_options(
    config: &Config,
    mode: &Mode,
    completions: &CompletionCounters,
) -> breakglass_log::Options {
    let mut options = breakglass_log::Options::at(config.data_dir.join(LOG_FILE));
    options.on_completion = Some(completions.sink());
    options.keep = config.record.keep;
    options.max_bytes = config.record.max_bytes;
    let pictures = Pictures::under(config.data_dir.join(PICTURES_DIR));
    options.on_forgotten = Some(Box::new(move |operation| pictures.forget(operation)));
    if *mode == Mode::Serve {
        options.on_event = Some(Box::new(print_event));
    }
    options
}

/// Removes old incidents at a fixed interval.
async fn apply_retention(log: Log) {
    let mut ticks = tokio::time::interval(RETENTION_INTERVAL);
    loop {
        ticks.tick().await;
        log.run_retention();
    }
}

/// Prints a durable event as one line on standard output, for a log shipper.
fn print_event(line: &[u8]) {
    use std::io::Write as _;
    // Ignore a closed pipe: the event is in the log.
    let _ = std::io::stdout().lock().write_all(line);
}
