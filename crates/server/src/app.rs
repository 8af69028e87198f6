//! Build, spawn, drain: the one place where the parts are put together.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use breakglass_agent::{AcpAgent, AgentOptions, Agents, RunnerAccess, TargetNames};
use breakglass_bastion::{Bastion, BastionOptions};
use breakglass_bastion::{Rules, RulesError};
use breakglass_control::ssh::{Dials, PrivateKey};
use breakglass_control::{AgentPort, Control, Pictures, SshOptions, Target};
use breakglass_log::Log;
use breakglass_model::{Actor, EventBody, Level};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::cell::{self, Cell, Kind};
use crate::config::{self, Config, OtherAgent};
use crate::doctor;
use crate::egress::AllowedHost;
use crate::gateway::Gateway;
use crate::hold::{Hold, Taken};
use crate::http::{self, AppState, Ends, ListenLimits, NoAgent, Services, Turned};
use crate::notify;
use crate::outbound::Outbound;

/// The record's file name under `data_dir`.
pub const RECORD_FILE: &str = "record.db";

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
        let outbound = Outbound::new(listed(&config), log.clone(), tracker.clone());
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
            let telling = doctor::tell_incidents(state.findings.changes(), state.log.clone());
            let watching = doctor::watch(state.findings.clone(), state.agents.clone());
            self.tracker.spawn(async move {
                let both = async { tokio::join!(telling, watching) };
                cancel.run_until_cancelled(both).await;
            });
        }
        let (log, cancel) = (self.state.log.clone(), self.cancel.clone());
        let tending = async move { cancel.run_until_cancelled(tend(log)).await };
        self.tracker.spawn(tending);
        self.state.notifier.start(notify::Sources {
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
    options.on_end = Some(ends.sink());
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
        log.tend();
    }
}

/// Each durable event as one line on standard output, for whatever ships logs.
fn ship(line: &[u8]) {
    use std::io::Write as _;
    // A closed pipe costs the shipped copy, not the record.
    let _ = std::io::stdout().lock().write_all(line);
}

/// How the configuration says that guest and host are reached.
pub(crate) fn ssh_options(config: &Config, key: Arc<PrivateKey>) -> SshOptions {
    SshOptions {
        key,
        host_keys: config.ssh.host_keys,
        known_hosts: config.ssh.known_hosts.clone(),
        connect_timeout: config.ssh.connect_timeout,
        keepalive: config.ssh.keepalive,
        dials: Dials::of(&config.targets),
    }
}

/// The agent in its cell and the bastion before it, or a sentence why there is none: power works on
/// without them.
fn build_agents(
    config: &Config,
    (log, port): (&Log, AgentPort),
    kind: Result<Kind, String>,
    outbound: Outbound,
) -> Result<(Agents, Bastion), NoAgent> {
    if !config.agent.enabled {
        return Err(NoAgent::SwitchedOff);
    }
    let kind = kind.map_err(|why| {
        NoAgent::Broken(format!(
            "The agent is to run in a sandbox (agent.sandbox = \"required\"), and there is none: {why}. \
             Power and checks work without it."
        ))
    })?;
    let built = build_bastion(config, port, &kind).and_then(|bastion| {
        let first = agent_options(config, bastion.known_hosts(), &kind)?;
        let others = config.agents.iter();
        let others = others.map(|other| {
            let cell = Cell::build_for(&other.name, config, bastion.known_hosts(), &kind)?;
            other_options(config, other, &cell)
        });
        let others = others.collect::<Result<Vec<_>, _>>()?;
        let gateway = Gateway {
            bastion: bastion.clone(),
            outbound,
        };
        let agents = Agents::several(first, others, log.clone(), Arc::new(gateway));
        Ok((agents, bastion))
    });
    built.map_err(|error| {
        tracing::error!(%error, "the agent's cell could not be made: there is no agent");
        let cell = config.data_dir.join("cell").display().to_string();
        NoAgent::Broken(format!(
            "The agent's cell {cell} could not be made: {error}. Free space there or set its \
             owner, and start breakglass again. Power and checks work without it."
        ))
    })
}

/// What each agent's proxy lets through.
fn listed(config: &Config) -> HashMap<String, Vec<AllowedHost>> {
    let others = config.agents.iter();
    let others = others.map(|other| (other.name.clone(), other.egress.clone()));
    let first = (config::FIRST_AGENT.to_owned(), config.agent.listed());
    others.chain([first]).collect()
}

fn build_bastion(config: &Config, port: AgentPort, kind: &Kind) -> std::io::Result<Bastion> {
    // Out of a sandbox connections come by themselves.
    let by_path = kind.sandbox().is_none();
    let options = BastionOptions {
        sockets: by_path.then(|| config.agent.sockets_dir(&config.data_dir)),
        peer: config.agent.uid(),
        autonomy: config.agent.autonomy,
        ceiling: kind.ceiling(),
        rules: rules(config).map_err(std::io::Error::other)?,
    };
    Bastion::new(port, options)
}

fn rules(config: &Config) -> Result<Rules, RulesError> {
    match &config.agent.rules {
        Some((path, text)) => config::own_rules(path, text),
        None => Rules::built_in(),
    }
}

/// How the CLI is started: in its cell here, or by a runner.
fn agent_options(config: &Config, known_hosts: &str, kind: &Kind) -> std::io::Result<AgentOptions> {
    let agent = &config.agent;
    if let Some(socket) = &agent.runner {
        let mut options = AgentOptions::new("claude", config.data_dir.join("cell"));
        options.runner = Some(RunnerAccess {
            socket: socket.clone(),
            ssh_config: cell::client_config(),
            known_hosts: known_hosts.to_owned(),
        });
        return Ok(with_bounds(options, config));
    }
    let cell = Cell::build(config, known_hosts, kind)?;
    Ok(with_bounds(here(config, &cell)?, config))
}

/// How the CLI is started in its cell.
fn here(config: &Config, cell: &Cell) -> std::io::Result<AgentOptions> {
    let agent = &config.agent;
    let key = agent.api_key.as_ref().map(|key| &key.secret);
    let url = agent.base_url.as_deref();
    let mut options = cell.options(agent.command.clone(), &config.private, key, url)?;
    options.args.clone_from(&agent.args);
    if let Some(library) = &agent.library {
        options.lend(library.clone());
    }
    Ok(options)
}

/// How an agent of `[[agents]]` is started in a cell of its own, by the bridge that this program is.
pub(crate) fn other_options(
    config: &Config,
    other: &OtherAgent,
    cell: &Cell,
) -> std::io::Result<AgentOptions> {
    let bridge = std::env::current_exe()?;
    let mut options = cell.options(bridge, &config.private, None, None)?;
    options.args = vec!["acp".to_owned()];
    options.kind = breakglass_agent::Kind::Acp(AcpAgent {
        command: other.command.clone(),
        args: other.args.clone(),
    });
    options.env.extend(other.environment.iter().cloned());
    if let Some((variable, key)) = &other.api_key {
        let key = key.secret.expose_secret().to_owned();
        options.env.push((variable.clone(), key));
    }
    if let Some(library) = &config.agent.library {
        options.lend(library.clone());
    }
    let mut options = with_bounds(options, config);
    options.name.clone_from(&other.name);
    options.fallback = None;
    options.model.clone_from(&other.model);
    options.sign_in = other.renew_login();
    Ok(options)
}

/// What is the same wherever the CLI runs.
fn with_bounds(mut options: AgentOptions, config: &Config) -> AgentOptions {
    let agent = &config.agent;
    config::FIRST_AGENT.clone_into(&mut options.name);
    options.fallback.clone_from(&agent.fallback);
    options.model.clone_from(&agent.model);
    options.turn_limit = agent.turn_limit;
    options.silence_limit = agent.silence_limit;
    options.max_api_retries = agent.max_api_retries;
    options.sign_in = http::sentence(agent.renew_login());
    let names = |target: &Target| TargetNames {
        guest: target.name.clone(),
        host: target.host_name.clone(),
    };
    options.targets = config.targets.iter().map(names).collect();
    options
}
