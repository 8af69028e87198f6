//! The options with which each agent's CLI is started, from the configuration.

use breakglass_agent::{AcpAgent, AgentOptions, RunnerAccess, TargetNames};
use breakglass_config::{Config, OtherAgent};
use breakglass_control::Target;
use breakglass_model::sentence;
use secrecy::ExposeSecret as _;

use crate::home::Cell;
use crate::kind::Kind;
use crate::ssh::client_config;

/// The options of the claude CLI: in a cell of this server, or with a runner.
pub(crate) fn agent_options(
    config: &Config,
    known_hosts: &str,
    kind: &Kind,
) -> std::io::Result<AgentOptions> {
    let agent = &config.agent;
    if let Some(socket) = &agent.runner {
        let mut options = AgentOptions::new("claude", config.data_dir.join("cell"));
        options.runner = Some(RunnerAccess {
            socket: socket.clone(),
            ssh_config: client_config(),
            known_hosts: known_hosts.to_owned(),
        });
        return Ok(with_common(options, config));
    }
    let cell = Cell::build(config, known_hosts, kind)?;
    Ok(with_common(in_cell(config, &cell)?, config))
}

/// The options of the claude CLI in a cell of this server.
fn in_cell(config: &Config, cell: &Cell) -> std::io::Result<AgentOptions> {
    let agent = &config.agent;
    let key = agent.api_key.as_ref().map(|key| &key.secret);
    let url = agent.base_url.as_deref();
    let mut options = cell.options(agent.command.clone(), &config.private, key, url)?;
    options.args.clone_from(&agent.args);
    if let Some(library) = &agent.library {
        options.set_library(library.clone());
    }
    Ok(options)
}

/// The options of an agent of `[[agents]]`: it starts in a cell of its own, through the bridge in this program.
///
/// # Errors
/// If the path of this program is unknown or the cell cannot be prepared.
pub fn other_options(
    config: &Config,
    other: &OtherAgent,
    cell: &Cell,
) -> std::io::Result<AgentOptions> {
    let bridge = std::env::current_exe()?;
    let mut options = cell.options(bridge, &config.private, None, None)?;
    options.args = vec!["acp".to_owned()];
    options.kind = breakglass_agent::AgentKind::Acp(AcpAgent {
        command: other.command.clone(),
        args: other.args.clone(),
    });
    options.env.extend(other.environment.iter().cloned());
    if let Some((variable, key)) = &other.api_key {
        let key = key.secret.expose_secret().to_owned();
        options.env.push((variable.clone(), key));
    }
    if let Some(library) = &config.agent.library {
        options.set_library(library.clone());
    }
    let mut options = with_common(options, config);
    options.name.clone_from(&other.name);
    options.fallback = None;
    options.model.clone_from(&other.model);
    options.login_remedy = other.renew_login();
    Ok(options)
}

/// Sets the options that do not depend on where the CLI runs.
fn with_common(mut options: AgentOptions, config: &Config) -> AgentOptions {
    let agent = &config.agent;
    breakglass_config::FIRST_AGENT.clone_into(&mut options.name);
    options.fallback.clone_from(&agent.fallback);
    options.model.clone_from(&agent.model);
    options.turn_limit = agent.turn_limit;
    options.max_api_retries = agent.max_api_retries;
    options.login_remedy = sentence(agent.renew_login());
    let names = |target: &Target| TargetNames {
        guest: target.name.clone(),
        host: target.host_name.clone(),
    };
    options.targets = config.targets.iter().map(names).collect();
    options
}
