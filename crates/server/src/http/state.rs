use std::sync::Arc;
use std::time::SystemTime;

use breakglass_agent::Agents;
use breakglass_bastion::Bastion;
use breakglass_cell::NoAgent;
use breakglass_control::Control;
use breakglass_log::Log;
use breakglass_model::Autonomy;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::session::AgentChoice;
use super::streams::Streams;
use crate::auth::Auth;
use crate::metrics::{Ends, Metrics, Turned};
use crate::report::Reading;
use breakglass_config::{Config, FIRST_AGENT, LimitsConfig, Preset};
use breakglass_notify::Notifier;
use breakglass_readiness::Findings;

/// What every handler works with. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The incident log.
    pub log: Log,
    /// Power and everything else that touches guest or host.
    pub control: Control,
    /// The agent, or why there is none.
    pub agents: Result<Agents, NoAgent>,
    /// What stands between the agent and its machines; none where there is no agent.
    pub bastion: Option<Bastion>,
    /// Who is asking.
    pub auth: Auth,
    /// What the page is told about this server.
    pub about: Arc<About>,
    /// What the last examination of everything found.
    pub(crate) findings: Findings,
    /// Who is told outside of what happens here.
    pub(crate) notifier: Notifier,
    /// Which commands of the agent only read, for reports.
    pub(crate) reading: Arc<Reading>,
    /// Counts open event streams per identity.
    pub streams: Streams,
    /// What is measured.
    pub(crate) metrics: Metrics,
    /// What the listener turned away or cut off.
    pub turned: Turned,
    /// Ends the event streams, which would otherwise never end.
    pub shutdown: CancellationToken,
}

/// What does not change while the server runs.
#[derive(Debug, Clone)]
pub struct About {
    /// Whether the targets are simulated.
    pub drill: bool,
    /// Of breakglass.
    pub version: String,
    /// The agent's model unless a prompt names another.
    pub model: String,
    /// What a prompt may name.
    pub models: Vec<String>,
    /// All agents, the first one first.
    pub agents: Vec<AgentChoice>,
    /// What the agent may do without asking.
    pub autonomy: Autonomy,
    /// Whether the agent lives behind a runner, which may have this server's addresses, as in one pod.
    pub agent_beside: bool,
    /// The prompts that are one tap on the page.
    pub presets: Vec<Preset>,
    /// The SSH key's fingerprint, for readiness.
    pub key_fingerprint: String,
    /// Bounds on what a client may hold.
    pub limits: LimitsConfig,
    /// Since when this server has been running.
    pub started: SystemTime,
}

/// The parts that do the work.
pub struct Services {
    /// The incident log.
    pub log: Log,
    /// Power.
    pub control: Control,
    /// The agent, or why there is none.
    pub agents: Result<Agents, NoAgent>,
    /// What stands between the agent and its machines; none where there is no agent.
    pub bastion: Option<Bastion>,
    /// Who is asking.
    pub auth: Auth,
    /// Counts what the journal says has ended.
    pub ends: Ends,
}

impl AppState {
    /// Puts the services together with what `config` says about them.
    #[must_use]
    pub fn new(
        config: &Config,
        services: Services,
        drill: bool,
        key_fingerprint: String,
        shutdown: CancellationToken,
    ) -> AppState {
        let about = About {
            drill,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: config.agent.model.clone(),
            models: config.agent.models.clone(),
            agents: choices(config),
            autonomy: config.agent.autonomy,
            agent_beside: config.agent.runner.is_some(),
            presets: config.agent.presets.clone(),
            key_fingerprint,
            limits: config.limits.clone(),
            started: SystemTime::now(),
        };
        let turned = Turned::default();
        let register = |registry: &mut Registry| {
            services.log.register(registry);
            services.control.register(registry);
        };
        let metrics = Metrics::new(register, &services.ends, &turned);
        AppState {
            log: services.log,
            control: services.control,
            agents: services.agents,
            bastion: services.bastion,
            auth: services.auth,
            findings: Findings::new(config),
            notifier: Notifier::new(config),
            reading: Arc::new(Reading::new(config.agent.rules.clone())),
            streams: Streams::new(config.limits.streams_per_identity),
            metrics,
            turned,
            about: Arc::new(about),
            shutdown,
        }
    }
}

fn choices(config: &Config) -> Vec<AgentChoice> {
    let first = AgentChoice {
        name: FIRST_AGENT.to_owned(),
        model: config.agent.model.clone(),
        models: config.agent.models.clone(),
    };
    let others = config.agents.iter().map(|other| AgentChoice {
        name: other.name.clone(),
        model: other.model.clone(),
        models: other.models.clone(),
    });
    std::iter::once(first).chain(others).collect()
}
