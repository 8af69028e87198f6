//! Puts the agents together: their cells, the bastion, and the gateway that connects the two.

use std::collections::HashMap;
use std::sync::Arc;

use breakglass_agent::Agents;
use breakglass_bastion::{Bastion, BastionOptions, Rules, RulesError};
use breakglass_config::{AllowedHost, Config};
use breakglass_control::AgentPort;
use breakglass_log::Log;

use crate::gateway::Gateway;
use crate::home::Cell;
use crate::kind::Kind;
use crate::options::{agent_options, other_options};
use crate::outbound::Outbound;

/// The reason why there is no agent, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAgent {
    /// The configuration switches it off.
    #[error("The agent is switched off (agent.enabled = false). Power and checks work without it.")]
    SwitchedOff,
    /// It could not be set up.
    #[error("{0}")]
    Broken(String),
}

/// The agents in their cells and the bastion in front of them.
///
/// # Errors
/// The reason why there is no agent; power works without it.
pub fn build_agents(
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
            "The agent needs a sandbox (agent.sandbox = \"required\"), but none can be made: {why}. \
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
        let agents = Agents::with_others(first, others, log.clone(), Arc::new(gateway));
        Ok((agents, bastion))
    });
    built.map_err(|error| {
        tracing::error!(%error, "the agent's cell could not be created: there is no agent");
        let cell = config.data_dir.join("cell").display().to_string();
        NoAgent::Broken(format!(
            "The agent's cell {cell} could not be created: {error}. Free space there or set its \
             owner, and restart breakglass. Power and checks work without it."
        ))
    })
}

/// The hosts that each agent's proxy connects to, by the agent's name.
#[must_use]
pub fn allowed_hosts(config: &Config) -> HashMap<String, Vec<AllowedHost>> {
    let others = config.agents.iter();
    let others = others.map(|other| (other.name.clone(), other.egress.clone()));
    let first = (
        breakglass_config::FIRST_AGENT.to_owned(),
        config.agent.allowed_hosts(),
    );
    others.chain([first]).collect()
}

fn build_bastion(config: &Config, port: AgentPort, kind: &Kind) -> std::io::Result<Bastion> {
    // A sandbox passes its connections as descriptors, without socket paths.
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
        Some((path, text)) => breakglass_config::own_rules(path, text),
        None => Rules::built_in(),
    }
}
