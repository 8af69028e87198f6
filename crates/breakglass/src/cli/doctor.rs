//! Tries everything that an emergency needs, from here and without a server.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use super::{Exit, Failure, runtime, say, say_json};
use breakglass_config::Config;
use breakglass_readiness::{Check, State, examine, examine_agent};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The server's configuration.
    #[arg(long, env = "BREAKGLASS_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON object: `{state, checks: [{name, state, evidence, remedy?, at}]}`.
    #[arg(long)]
    json: bool,
    /// Put one short question to the model as well; it costs a few tokens.
    #[arg(long)]
    ask_model: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    runtime::seal_memory()?;
    let config = super::serve::load(&args.config)?;
    runtime::init_tracing(LevelFilter::ERROR);
    let (checks, worst) = examine_all(&config, args.ask_model)?;
    if args.json {
        say_json(&json!({ "state": worst, "checks": checks }).to_string());
    } else {
        print(&checks);
    }
    Ok(exit_of(worst))
}

/// All checks, and how the worst of them stands.
pub(super) fn examine_all(
    config: &Config,
    ask_model: bool,
) -> Result<(Vec<Check>, State), Failure> {
    let checks = runtime::block_on(async {
        let (mut checks, agent) = tokio::join!(examine(config), examine_agent(config, ask_model));
        checks.extend(agent);
        checks
    })?;
    let worst = checks.iter().map(|check| check.state).max();
    Ok((checks, worst.unwrap_or(State::Green)))
}

pub(super) fn print(checks: &[Check]) {
    checks.iter().flat_map(lines).for_each(|line| say(&line));
}

pub(super) fn exit_of(worst: State) -> Exit {
    match worst {
        State::Red => Exit::Failed,
        State::Green | State::Amber => Exit::Done,
    }
}

/// State, name and evidence; below, what to do about it.
fn lines(check: &Check) -> Vec<String> {
    let (state, evidence) = (check.state.as_str(), &check.evidence);
    let found = format!("{state:5}  {:28}  {evidence}", check.name);
    let remedy = check
        .remedy
        .iter()
        .map(|remedy| format!("       → {remedy}"));
    [found].into_iter().chain(remedy).collect()
}
