//! The agent: its cell, its CLI, its sign-in, and where asked for, its model.

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
use super::model::Answer;
use super::sandbox;
use breakglass_cell::NoAgent;
use breakglass_cell::egress::{Attempt, Egress};
use breakglass_cell::other_options;
use breakglass_cell::outbound;
use breakglass_cell::{Cell, Kind};
use breakglass_config::{AgentConfig, Config, OtherAgent};
use breakglass_model::sentence;

/// The name of the model's check.
pub(crate) const MODEL: &str = "agent.model";
/// Longest wait for a running server's agent to say how it is.
const LIVE_LIMIT: Duration = Duration::from_secs(3);

/// Longest wait for the model's answer.
const MODEL_LIMIT: Duration = Duration::from_secs(60);

/// All of it, in a cell of its own beside a running server's, which stays as it is. `ask_model` puts
/// one short question to the model; else its last answer to the server stands.
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
            // None: the runner keeps what the server gave it.
            known_hosts: String::new(),
        });
        let mut checks = Vec::from_iter(sandbox::check(config).await);
        checks.extend(of_cli(config, options, ask_model).await);
        return checks;
    }
    let laid_out = lay_out(config).and_then(|(dir, cell)| Ok((options(config, &cell)?, dir, cell)));
    match laid_out {
        Ok((options, _dir, cell)) => {
            let mut checks = vec![Check::green(
                "agent.cell",
                "The agent's cell can be laid out.",
            )];
            checks.extend(sandbox::check(config).await);
            checks.extend(of_cli(config, options, ask_model).await);
            checks.extend(of_others(config).await);
            cell.clear();
            checks
        }
        Err(error) => {
            let dir = config.data_dir.display();
            let evidence = format!("The agent's cell can't be laid out below {dir}: {error}.");
            let remedy = format!(
                "free space in {dir}, make it writable, and open to agent.user (chmod o+x)"
            );
            let cell = Check::red("agent.cell", evidence, remedy);
            vec![cell, Check::untried("agent", "agent.cell")]
        }
    }
}

pub(crate) fn options(config: &Config, cell: &Cell) -> io::Result<AgentOptions> {
    let agent = &config.agent;
    let key = agent.api_key.as_ref().map(|key| &key.secret);
    let url = agent.base_url.as_deref();
    let mut options = cell.options(agent.command.clone(), &config.private, key, url)?;
    options.args.clone_from(&agent.args);
    Ok(options)
}

/// Why the model's API refused the login, where `tried` asked it and it did.
pub(crate) fn refused(tried: &[Check]) -> Option<&str> {
    let red = |name: &str| {
        let red = |check: &&Check| check.name == name && check.state == State::Red;
        tried.iter().find(red)
    };
    // Where the CLI itself does not work, the model is not asked.
    red(MODEL)?;
    Some(&red("agent")?.evidence)
}

/// How a running server's agent is, without asking the model.
pub async fn live(agents: &Result<Agents, NoAgent>, config: &AgentConfig) -> Check {
    let health = match agents {
        Err(off @ NoAgent::SwitchedOff) => return Check::green("agent", off.to_string()),
        Err(NoAgent::Broken(why)) => {
            return Check::red("agent", why, "mend it and start breakglass again");
        }
        Ok(agents) => tokio::time::timeout(LIVE_LIMIT, agents.health()).await,
    };
    let silent = || AgentHealth {
        available: false,
        version: None,
        login_failed: false,
        message: "The agent's command does not say how it is; try again.".to_owned(),
    };
    judge(&health.unwrap_or_else(|_| silent()), config)
}

/// How a running server's further agents are.
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
        Some(judge_other(health, other))
    });
    all.collect()
}

fn judge_other(health: &AgentHealth, other: &OtherAgent) -> Check {
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

/// What the health of the CLI says, with its remedy.
fn judge(health: &AgentHealth, agent: &AgentConfig) -> Check {
    if health.available {
        return Check::green("agent", &health.message);
    }
    let remedy = match &agent.runner {
        _ if health.login_failed => agent.renew_login(),
        Some(socket) => format!(
            "see that `breakglass runner --listen {}` runs, with a claude CLI that is signed in",
            socket.display()
        ),
        None if health.version.is_some() => {
            "do what it says; `breakglass doctor` has the whole list".to_owned()
        }
        None => format!(
            "install the claude CLI (npm install -g @anthropic-ai/claude-code), or set agent.command, \
             which is {}",
            agent.command.display()
        ),
    };
    Check::red("agent", &health.message, remedy)
}

async fn of_cli(config: &Config, mut options: AgentOptions, ask_model: bool) -> Vec<Check> {
    options.model.clone_from(&config.agent.model);
    options.max_api_retries = 1;
    options.login_remedy = sentence(config.agent.renew_login());
    let mut health = check_cli(&options).await;
    let mut answer = None;
    if !ask_model {
        answer = Answer::kept(config).map(|answer| answer.check);
    } else if health.available {
        let model = breakglass_agent::ask_model(&options, reached(config), MODEL_LIMIT).await;
        // The CLI of a running server may have renewed what it was given a copy of; then only its own
        // turns tell whether its login works.
        let same_login = config.agent.credentials_dir.is_none();
        if let (Err(ModelError::LoginRefused(why)), true) = (&model, same_login) {
            (health.available, health.login_failed) = (false, true);
            health.message.clone_from(why);
        }
        answer = Some(of_model(&options.model, model, &config.agent));
    }
    let mut checks = vec![judge(&health, &config.agent)];
    let untried = ask_model.then(|| Check::untried(MODEL, "agent"));
    checks.extend(answer.or(untried));
    checks
}

/// Whether each agent of `[[agents]]` starts, in a cell of its own for that.
async fn of_others(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for other in &config.agents {
        let laid_out = lay_out(config)
            .and_then(|(dir, cell)| Ok((other_options(config, other, &cell)?, dir, cell)));
        let health = match laid_out {
            Ok((options, _dir, cell)) => {
                let health = check_cli(&options).await;
                cell.clear();
                health
            }
            Err(error) => AgentHealth {
                available: false,
                version: None,
                login_failed: false,
                message: format!("Its cell can't be laid out: {error}."),
            },
        };
        checks.push(judge_other(&health, other));
    }
    checks
}

/// Takes the connections out of the cell: what is listed can be reached from it, and no machine.
pub(crate) fn reached(config: &Config) -> Connected {
    let (tasks, report) = (TaskTracker::new(), |attempt: Attempt| {
        tracing::debug!(to = %attempt.to, error = ?attempt.error, "a way out was tried");
    });
    let egress = Egress::new(config.agent.listed(), Arc::new(report), tasks.clone());
    Arc::new(move |way, stream| {
        if let (Destination::Model, Ok(stream)) = (way, outbound::tcp(stream)) {
            let egress = egress.clone();
            tasks.spawn(async move { egress.serve(stream).await });
        }
    })
}

/// What its answer to one short question says.
fn of_model(model: &str, answer: Result<String, ModelError>, agent: &AgentConfig) -> Check {
    let red =
        |why, remedy: String| Check::red(MODEL, format!("{model} gives no answer: {why}"), remedy);
    match answer {
        Ok(said) => Check::green(MODEL, format!("{model} answers: {said:?}.")),
        Err(ModelError::LoginRefused(why)) => red(why, agent.renew_login()),
        Err(ModelError::Other(why)) => red(
            why,
            "check the login, agent.model and agent.base_url, and that the model's API can be \
             reached from here; power works without it"
                .to_owned(),
        ),
    }
}

/// A cell in a directory that goes with the guard.
pub(crate) fn lay_out(config: &Config) -> io::Result<(TempDir, Cell)> {
    std::fs::create_dir_all(&config.data_dir)?;
    let dir = tempfile::Builder::new()
        .prefix("doctor-")
        .tempdir_in(&config.data_dir)?;
    if config.agent.user.is_some() {
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
    }
    let kind = Kind::choose(&config.agent).map_err(io::Error::other)?;
    let found = kind.sandbox().cloned();
    let cell = Cell::lay_out(dir.path().join("cell"), config.agent.user, found)?;
    if let Some(source) = &config.agent.credentials_dir {
        cell.sign_in(source);
    }
    Ok((dir, cell))
}
