//! Runs a drill: the production server with a simulated machine, in a temporary directory.
//!
//! The simulation is in the crate `breakglass-drill`; this module makes its key and configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderName;
use breakglass_control::{Endpoint, HostKeyPolicy, Target, ssh};
use breakglass_drill::{Scenario, Simulation};
use breakglass_model::Time;
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

use super::runtime::Interrupt;
use super::{Exit, Failure, print_line};
use breakglass_config::{
    AgentConfig, AuthConfig, Config, LimitsConfig, ModelKey, NotifyConfig, RecordConfig, SshConfig,
};
use breakglass_readiness::{CompletedDrill, DrillLog};
use breakglass_server::app::{App, Mode};

const KEY_FILE: &str = "key";
const KNOWN_HOSTS_FILE: &str = "known_hosts";

#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    /// The address for the page; port 0 means any free port.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The fault of the machine: disk-full, oom, io-stall or panic.
    #[arg(long, default_value = "disk-full")]
    scenario: Scenario,
    /// The agent: the built-in script, or the real claude CLI.
    #[arg(long, value_enum, default_value_t = DrillAgent::Scripted)]
    agent: DrillAgent,
    /// Keep the incident log in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Record the drill for the server with this configuration, whose readiness shows the last drill.
    /// A drill counts if someone prompted the agent or ran a verb.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DrillAgent {
    Scripted,
    Claude,
}

pub(crate) fn run(args: &DrillArgs) -> Result<Exit, Failure> {
    super::runtime::seal_memory()?;
    super::runtime::init_tracing(LevelFilter::WARN);
    super::runtime::block_on(drill(args))?
}

async fn drill(args: &DrillArgs) -> Result<Exit, Failure> {
    let interrupt = Interrupt::install()?;
    let scratch = tempfile::Builder::new()
        .prefix("breakglass-drill-")
        .tempdir()
        .map_err(failed("can't create a directory for the drill"))?;
    let data_dir = args
        .data_dir
        .clone()
        .unwrap_or_else(|| scratch.path().join("data"));
    let place = place(args)?;
    let cancel = CancellationToken::new();
    let simulation = simulate(args.scenario, scratch.path(), cancel.clone()).await?;
    let config = config(args, &simulation, scratch.path(), data_dir)?;
    let mode = Mode::Drill {
        scenario: args.scenario.describe().to_owned(),
    };
    let app = App::build(config, mode)
        .await
        .map_err(failed("can't start the server"))?;
    // The server has the key in memory now; the agent could read the file.
    std::fs::remove_file(scratch.path().join(KEY_FILE)).map_err(failed("the drill's key"))?;
    app.open_drill_incidents().await;
    let code = app
        .sign_in_code()
        .map_err(failed("can't create the sign-in link"))?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(failed("can't listen on the page's address"))?;
    let address = listener
        .local_addr()
        .map_err(failed("can't read the page's address"))?;
    print_line("DRILL: a rehearsed incident on a simulated machine. No real machine is affected.");
    print_line(&format!(
        "Scenario {}: {}",
        args.scenario,
        args.scenario.describe()
    ));
    print_line(
        "The agent asks on the page before it changes anything. You can let it act alone in the page's menu.",
    );
    print_line(&format!(
        "Open this link within 15 minutes; it signs you in once. Press Ctrl-C to end the drill.\n\n  http://{address}/#sign-in={code}\n"
    ));
    let log = app.log();
    let since = Time::now();
    let mut practised = Ok(None);
    let ended = async {
        interrupt.received().await;
        practised = CompletedDrill::from_log(&log, &args.scenario.to_string(), since).await;
    };
    app.run(listener, None, ended).await;
    cancel.cancel();
    if let Some(place) = place {
        note(place, practised.map_err(failed("what was practised"))?)?;
    }
    Ok(Exit::Done)
}

/// The place to record the drill in, if a configuration is given.
fn place(args: &DrillArgs) -> Result<Option<DrillLog>, Failure> {
    let Some(file) = &args.config else {
        return Ok(None);
    };
    let data_dir = super::serve::load(file)?.data_dir;
    let place = DrillLog::open(&data_dir);
    place.map(Some).map_err(|error| {
        let dir = data_dir.display();
        let message = format!("the drill can't be recorded in {dir}: {error}; make it writable");
        Failure::new(Exit::Usage, message)
    })
}

fn note(place: DrillLog, practised: Option<CompletedDrill>) -> Result<(), Failure> {
    let Some(practice) = practised else {
        print_line("No one prompted the agent or ran a verb, so this drill is not recorded.");
        return Ok(());
    };
    let file = place
        .record(&practice)
        .map_err(failed("the drill's note"))?;
    print_line(&format!("This drill is recorded in {}.", file.display()));
    Ok(())
}

/// Starts the simulated machine. Writes its key and its host keys to `scratch`.
async fn simulate(
    scenario: Scenario,
    scratch: &Path,
    cancel: CancellationToken,
) -> Result<Simulation, Failure> {
    let key = ssh::generate_key().map_err(failed("the drill's key"))?;
    ssh::write_key(&key, &scratch.join(KEY_FILE)).map_err(failed("the drill's key"))?;
    let simulation = Simulation::start(scenario, key.public_key().clone(), cancel)
        .await
        .map_err(failed("can't start the simulated machine"))?;
    std::fs::write(scratch.join(KNOWN_HOSTS_FILE), known_hosts(&simulation)?)
        .map_err(failed("the drill's known_hosts"))?;
    Ok(simulation)
}

/// Both host keys in the format of OpenSSH's `known_hosts`.
fn known_hosts(simulation: &Simulation) -> Result<String, Failure> {
    let keys = simulation.host_keys();
    let line = |address: SocketAddr, key: &ssh::PublicKey| {
        let key = key.to_openssh().map_err(failed("a host key"))?;
        Ok(format!("[{}]:{} {key}\n", address.ip(), address.port()))
    };
    let guest = line(simulation.guest_addr(), &keys.guest)?;
    Ok(guest + &line(simulation.host_addr(), &keys.host)?)
}

/// The configuration for the simulation. It has no token, so the printed link is the only way to sign
/// in.
fn config(
    args: &DrillArgs,
    simulation: &Simulation,
    scratch: &Path,
    data_dir: PathBuf,
) -> Result<Config, Failure> {
    let mut target = Target::new(
        "devvm",
        endpoint(simulation.guest_addr(), "breakglass"),
        endpoint(simulation.host_addr(), "root"),
    );
    target.drill = true;
    Ok(Config {
        listen: args.listen,
        metrics_listen: None,
        data_dir,
        allowed_hosts: Vec::new(),
        auth: AuthConfig {
            trusted_proxies: Vec::new(),
            user_header: HeaderName::from_static("x-forwarded-user"),
            token: None,
            token_identity: "operator".to_owned(),
            secure_cookie: false,
        },
        ssh: SshConfig {
            key_file: scratch.join(KEY_FILE),
            host_keys: HostKeyPolicy::Pin,
            known_hosts: scratch.join(KNOWN_HOSTS_FILE),
            connect_timeout: Duration::from_secs(5),
            keepalive: Duration::from_secs(2),
        },
        agent: agent(args.agent)?,
        agents: Vec::new(),
        limits: LimitsConfig::default(),
        record: RecordConfig::default(),
        notify: NotifyConfig::default(),
        targets: vec![target],
        drill_max_age_days: 0,
        private: Vec::new(),
        secrets: Vec::new(),
    })
}

fn agent(kind: DrillAgent) -> Result<AgentConfig, Failure> {
    let default = AgentConfig::default();
    match kind {
        DrillAgent::Claude => Ok(AgentConfig {
            api_key: std::env::var("ANTHROPIC_API_KEY").ok().map(|key| ModelKey {
                secret: key.into(),
                file: None,
            }),
            base_url: std::env::var("ANTHROPIC_BASE_URL").ok(),
            ..default
        }),
        DrillAgent::Scripted => {
            let command = std::env::current_exe().map_err(failed("the program's own path"))?;
            Ok(AgentConfig {
                command,
                args: vec!["drill-agent".to_owned()],
                ..default
            })
        }
    }
}

fn endpoint(address: SocketAddr, user: &str) -> Endpoint {
    Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        user: user.to_owned(),
    }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::new(Exit::Failed, format!("{what}: {error}"))
}
