//! The state that handlers share: the services, and fixed facts about this server.
//!
//! It is put together once by `app`; the services do their work elsewhere.

use std::sync::Arc;
use std::time::SystemTime;

use breakglass_agent::Agents;
use breakglass_bastion::Bastion;
use breakglass_cell::NoAgent;
use breakglass_control::Control;
use breakglass_log::Log;
use breakglass_model::Autonomy;
use prometheus_client::registry::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use ts_rs::TS;

use super::streams::Streams;
use crate::auth::Auth;
use crate::metrics::{CompletionCounters, ListenerCounters, Metrics};
use crate::report::ReportRules;
use breakglass_config::{Config, FIRST_AGENT, LimitsConfig, Preset};
use breakglass_notify::Notifier;
use breakglass_readiness::ReadinessState;

/// The state shared by all handlers. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The incident log.
    pub log: Log,
    /// Power, diagnoses and vital signs.
    pub control: Control,
    /// The agents, or the reason why there are none.
    pub agents: Result<Agents, NoAgent>,
    /// The SSH server for the agent's commands; `None` without an agent.
    pub bastion: Option<Bastion>,
    /// Identifies the sender of a request.
    pub auth: Auth,
    /// Fixed facts about this server.
    pub info: Arc<ServerInfo>,
    /// The readiness state.
    pub(crate) findings: ReadinessState,
    /// Delivers notifications.
    pub(crate) notifier: Notifier,
    /// The rules for read-only commands, for reports.
    pub(crate) report_rules: Arc<ReportRules>,
    /// Counts open event streams per identity.
    pub streams: Streams,
    /// The metrics.
    pub(crate) metrics: Metrics,
    /// Counts refused and stalled connections.
    pub listener_counters: ListenerCounters,
    /// Cancelled on shutdown; ends the event streams.
    pub shutdown: CancellationToken,
}

/// An agent that a prompt may name.
#[derive(Debug, Clone, Serialize, TS, JsonSchema)]
#[ts(export)]
pub struct AgentChoice {
    /// The name of the agent.
    pub name: String,
    /// The agent's default model.
    pub model: String,
    /// The models that a prompt may name.
    pub models: Vec<String>,
}

/// Facts about this server that do not change while it runs.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// Whether the targets are simulated.
    pub drill: bool,
    /// The version of breakglass.
    pub version: String,
    /// The first agent's default model.
    pub model: String,
    /// The first agent's models that a prompt may name.
    pub models: Vec<String>,
    /// All agents, the first one first.
    pub agents: Vec<AgentChoice>,
    /// The configured autonomy of the agent.
    pub autonomy: Autonomy,
    /// Whether the agent may share this server's addresses: it runs in another container, perhaps of
    /// the same pod.
    pub agent_shares_addresses: bool,
    /// Prompts that the page sends with one tap.
    pub presets: Vec<Preset>,
    /// The SSH key's fingerprint, for readiness.
    pub key_fingerprint: String,
    /// Limits on clients' resources.
    pub limits: LimitsConfig,
    /// The start time of this server.
    pub started: SystemTime,
}

/// The services that the handlers use.
pub struct Services {
    /// The incident log.
    pub log: Log,
    /// Power, diagnoses and vital signs.
    pub control: Control,
    /// The agents, or the reason why there are none.
    pub agents: Result<Agents, NoAgent>,
    /// The SSH server for the agent's commands; `None` without an agent.
    pub bastion: Option<Bastion>,
    /// Identifies the sender of a request.
    pub auth: Auth,
    /// Counts completed verbs, checks, turns and approvals.
    pub completions: CompletionCounters,
}

impl AppState {
    /// Combines the services with the settings in `config`.
    #[must_use]
    pub fn new(
        config: &Config,
        services: Services,
        drill: bool,
        key_fingerprint: String,
        shutdown: CancellationToken,
    ) -> AppState {
        let info = ServerInfo {
            drill,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: config.agent.model.clone(),
            models: config.agent.models.clone(),
            agents: choices(config),
            autonomy: config.agent.autonomy,
            agent_shares_addresses: config.agent.runner.is_some(),
            presets: config.agent.presets.clone(),
            key_fingerprint,
            limits: config.limits.clone(),
            started: SystemTime::now(),
        };
        let listener_counters = ListenerCounters::default();
        let register = |registry: &mut Registry| {
            services.log.register(registry);
            services.control.register(registry);
        };
        let metrics = Metrics::new(register, &services.completions, &listener_counters);
        AppState {
            log: services.log,
            control: services.control,
            agents: services.agents,
            bastion: services.bastion,
            auth: services.auth,
            findings: ReadinessState::new(config),
            notifier: Notifier::new(config),
            report_rules: Arc::new(ReportRules::new(config.agent.rules.clone())),
            streams: Streams::new(config.limits.streams_per_identity),
            metrics,
            listener_counters,
            info: Arc::new(info),
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
