//! Runs all readiness checks from here, without a server.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use super::{Exit, Failure, print_json, print_line, runtime};
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
    /// Also send one short question to the model; it costs a few tokens.
    #[arg(long)]
    ask_model: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    runtime::seal_memory()?;
    let config = super::serve::load(&args.config)?;
    runtime::init_tracing(LevelFilter::ERROR);
    let (checks, worst) = examine_all(&config, args.ask_model)?;
    if args.json {
        print_json(&json!({ "state": worst, "checks": checks }).to_string());
    } else {
        print(&checks);
    }
    Ok(exit_of(worst))
}

/// Runs all checks. Returns their results and the worst state.
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
    checks
        .iter()
        .flat_map(lines)
        .for_each(|line| print_line(&line));
}

pub(super) fn exit_of(worst: State) -> Exit {
    match worst {
        State::Red => Exit::Failed,
        State::Green | State::Amber => Exit::Done,
    }
}

/// One line with state, name and evidence, and one with the remedy.
fn lines(check: &Check) -> Vec<String> {
    let state = check.state.as_str();
    let result = format!("{state:5}  {:28}  {}", check.name, check.evidence);
    let remedy = check
        .remedy
        .iter()
        .map(|remedy| format!("       → {remedy}"));
    [result].into_iter().chain(remedy).collect()
}
