//! Checks of the agent: its cell, its CLI, its sign-in, and on request its model.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use breakglass_agent::sandbox::Connected;
use breakglass_agent::{AgentHealth, AgentOptions, Agents, ModelError, RunnerAccess, check_cli};
use breakglass_model::gateway::Destination;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::check::{Check, State};
use super::model::ModelAnswer;
use super::sandbox;
use breakglass_cell::NoAgent;
use breakglass_cell::egress::{Attempt, Egress};
use breakglass_cell::other_options;
use breakglass_cell::outbound;
use breakglass_cell::{Cell, Kind};
use breakglass_config::{AgentConfig, Config, OtherAgent};
use breakglass_model::sentence;

/// Name of the model's check.
pub(crate) const MODEL_CHECK: &str = "agent.model";
/// Timeout of the health query to a running server's agent.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout of the model's answer.
const MODEL_TIMEOUT: Duration = Duration::from_secs(60);

/// All checks of the agent, in a temporary cell, so that a running server's cell is not touched. With `ask_model`,
/// the model is asked one short question; otherwise its last stored answer counts.
pub async fn examine(config: &Config, ask_model: bool) -> Vec<Check> {
    if !config.agent.enabled {
        let off = "The agent is switched off (agent.enabled = false).";
        return vec![Check::green("agent", off)];
    }
    if let Some(socket) = &config.agent.runner {
        let mut options = AgentOptions::new("claude", config.data_dir.join("cell"));
        options.runner = Some(RunnerAccess {
            socket: socket.clone(),
            ssh_config: breakglass_cell::client_config(),
            // Empty: the runner keeps the host keys of the server.
            known_hosts: String::new(),
        });
        let mut checks = Vec::from_iter(sandbox::check(config).await);
        checks.extend(cli_checks(config, options, ask_model).await);
        return checks;
    }
    let prepared =
        temporary_cell(config).and_then(|(dir, cell)| Ok((options(config, &cell)?, dir, cell)));
    match prepared {
        Ok((options, _dir, cell)) => {
            let mut checks = vec![Check::green(
                "agent.cell",
                "The agent's cell can be set up.",
            )];
            checks.extend(sandbox::check(config).await);
            checks.extend(cli_checks(config, options, ask_model).await);
            checks.extend(other_checks(config).await);
            cell.clear();
            checks
        }
        Err(error) => {
            let dir = config.data_dir.display();
            let evidence = format!("The agent's cell cannot be set up in {dir}: {error}.");
            let remedy = format!(
                "free space in {dir}, make it writable, and let agent.user traverse it (chmod o+x)"
            );
            let cell = Check::red("agent.cell", evidence, remedy);
            vec![cell, Check::untried("agent", "agent.cell")]
        }
    }
}

/// The options of a CLI in `cell`.
pub(crate) fn options(config: &Config, cell: &Cell) -> io::Result<AgentOptions> {
    let agent = &config.agent;
    let key = agent.api_key.as_ref().map(|key| &key.secret);
    let url = agent.base_url.as_deref();
    let mut options = cell.options(agent.command.clone(), &config.private, key, url)?;
    options.args.clone_from(&agent.args);
    Ok(options)
}

/// The reason why the model's API refused the login, if the checks asked the model and it did.
pub(crate) fn refused_login(checks: &[Check]) -> Option<&str> {
    let red = |name: &str| {
        let is_red = |check: &&Check| check.name == name && check.state == State::Red;
        checks.iter().find(is_red)
    };
    // If the CLI itself does not work, the model is not asked and its check is not red.
    red(MODEL_CHECK)?;
    Some(&red("agent")?.evidence)
}

/// The check of a running server's agent, without asking the model.
pub async fn live(agents: &Result<Agents, NoAgent>, config: &AgentConfig) -> Check {
    let health = match agents {
        Err(off @ NoAgent::SwitchedOff) => return Check::green("agent", off.to_string()),
        Err(NoAgent::Broken(why)) => {
            return Check::red("agent", why, "fix it and restart breakglass");
        }
        Ok(agents) => tokio::time::timeout(HEALTH_TIMEOUT, agents.health()).await,
    };
    let health = health.unwrap_or_else(|_| AgentHealth {
        available: false,
        version: None,
        login_failed: false,
        message: "The agent's command does not report its health; try again.".to_owned(),
    });
    agent_check(&health, config)
}

/// The checks of a running server's additional agents.
pub(crate) async fn live_others(
    agents: &Result<Agents, NoAgent>,
    others: &[OtherAgent],
) -> Vec<Check> {
    let Ok(agents) = agents else {
        return Vec::new();
    };
    let all = agents.health_of_all().await;
    let health_of = |other: &OtherAgent| all.iter().find(|(name, _)| *name == other.name);
    let all = others.iter().filter_map(|other| {
        let (_, health) = health_of(other)?;
        Some(other_check(health, other))
    });
    all.collect()
}

fn other_check(health: &AgentHealth, other: &OtherAgent) -> Check {
    let name = format!("agent.{}", other.name);
    if health.available {
        return Check::green(name, &health.message);
    }
    let remedy = format!(
        "install {}, or correct the section of the agent {} under [[agents]]",
        other.command.display(),
        other.name
    );
    Check::red(name, &health.message, remedy)
}

/// Converts the health of the CLI into a check.
fn agent_check(health: &AgentHealth, agent: &AgentConfig) -> Check {
    if health.available {
        return Check::green("agent", &health.message);
    }
    let remedy = match &agent.runner {
        _ if health.login_failed => agent.renew_login(),
        Some(socket) => format!(
            "check that `breakglass runner --listen {}` runs, with a claude CLI that is signed in",
            socket.display()
        ),
        None if health.version.is_some() => {
            "follow this message; `breakglass doctor` runs all checks".to_owned()
        }
        None => format!(
            "install the claude CLI (npm install -g @anthropic-ai/claude-code), or correct agent.command \
             ({})",
            agent.command.display()
        ),
    };
    Check::red("agent", &health.message, remedy)
}

/// The checks of the claude CLI and its model.
async fn cli_checks(config: &Config, mut options: AgentOptions, ask_model: bool) -> Vec<Check> {
    options.model.clone_from(&config.agent.model);
    options.max_api_retries = 1;
    options.login_remedy = sentence(config.agent.renew_login());
    let mut health = check_cli(&options).await;
    let mut answer = None;
    if !ask_model {
        answer = ModelAnswer::load(config).map(|answer| answer.check);
    } else if health.available {
        let model =
            breakglass_agent::ask_model(&options, model_access(config), MODEL_TIMEOUT).await;
        // The CLI of a running server may have renewed its copy of the sign-in. Then only its own turns
        // show whether its login works.
        let same_login = config.agent.credentials_dir.is_none();
        if let (Err(ModelError::LoginRefused(why)), true) = (&model, same_login) {
            health.available = false;
            health.login_failed = true;
            health.message.clone_from(why);
        }
        answer = Some(model_check(&options.model, model, &config.agent));
    }
    let mut checks = vec![agent_check(&health, &config.agent)];
    let untried = ask_model.then(|| Check::untried(MODEL_CHECK, "agent"));
    checks.extend(answer.or(untried));
    checks
}

/// Checks that each agent of `[[agents]]` starts, each in a temporary cell.
async fn other_checks(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for other in &config.agents {
        let prepared = temporary_cell(config)
            .and_then(|(dir, cell)| Ok((other_options(config, other, &cell)?, dir, cell)));
        let health = match prepared {
            Ok((options, _dir, cell)) => {
                let health = check_cli(&options).await;
                cell.clear();
                health
            }
            Err(error) => AgentHealth {
                available: false,
                version: None,
                login_failed: false,
                message: format!("Its cell cannot be set up: {error}."),
            },
        };
        checks.push(other_check(&health, other));
    }
    checks
}

/// Accepts outbound connections of a temporary cell: it reaches the model and listed hosts, but no target.
pub(crate) fn model_access(config: &Config) -> Connected {
    let tasks = TaskTracker::new();
    let report = |attempt: Attempt| {
        tracing::debug!(to = %attempt.to, error = ?attempt.error, "outbound connection of a check");
    };
    let egress = Egress::new(
        config.agent.allowed_hosts(),
        Arc::new(report),
        tasks.clone(),
    );
    Arc::new(move |destination, stream| {
        if let (Destination::Model, Ok(stream)) = (destination, outbound::tcp(stream)) {
            let egress = egress.clone();
            tasks.spawn(async move { egress.serve(stream).await });
        }
    })
}

/// Converts the model's answer into a check.
fn model_check(model: &str, answer: Result<String, ModelError>, agent: &AgentConfig) -> Check {
    let red = |why, remedy: String| {
        Check::red(
            MODEL_CHECK,
            format!("{model} does not answer: {why}"),
            remedy,
        )
    };
    match answer {
        Ok(answer) => Check::green(MODEL_CHECK, format!("{model} answers: {answer:?}.")),
        Err(ModelError::LoginRefused(why)) => red(why, agent.renew_login()),
        Err(ModelError::Other(why)) => red(
            why,
            "check the login, agent.model and agent.base_url, and that the model's API is \
             reachable from here; power works without it"
                .to_owned(),
        ),
    }
}

/// A cell in a temporary directory, which is removed when the guard is dropped.
pub(crate) fn temporary_cell(config: &Config) -> io::Result<(TempDir, Cell)> {
    std::fs::create_dir_all(&config.data_dir)?;
    let dir = tempfile::Builder::new()
        .prefix("doctor-")
        .tempdir_in(&config.data_dir)?;
    if config.agent.user.is_some() {
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
    }
    let kind = Kind::choose(&config.agent).map_err(io::Error::other)?;
    let sandbox = kind.sandbox().cloned();
    let cell = Cell::create(dir.path().join("cell"), config.agent.user, sandbox)?;
    if let Some(source) = &config.agent.credentials_dir {
        cell.sign_in(source);
    }
    Ok((dir, cell))
}
