//! Runs a verb from the command line: through a server, or with `--direct` on the host itself.

use std::path::PathBuf;

use breakglass_control::power::{Accepted, OperationView};
use breakglass_model::VerbOutcome;
use breakglass_verbs::Verb;
use clap::Args;
use serde::Deserialize;

use super::follow::{self, FollowLimits};
use super::remote::Remote;
use super::{Exit, Failure, ServerArgs, direct, print_error, print_json};

#[derive(Debug, Args)]
pub(crate) struct VerbArgs {
    /// The target; may be omitted if there is only one.
    #[arg(long, env = "BREAKGLASS_TARGET", value_name = "NAME")]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Connect to the host over SSH from here, without a server, even if one is named: the cold case.
    #[arg(long)]
    direct: bool,
    /// With --direct: the configuration with the target and the key.
    #[arg(
        long,
        env = "BREAKGLASS_CONFIG",
        value_name = "FILE",
        requires = "direct"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Print the finished operation as JSON instead of its lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Deserialize)]
struct TargetName {
    name: String,
}

pub(crate) fn run(verb: Verb, args: &VerbArgs) -> Result<Exit, Failure> {
    if args.direct {
        return direct::run(verb, args);
    }
    let remote = Remote::new(&args.server)?;
    let target = choose_target(&remote, args.target.as_deref())?;
    let key = uuid::Uuid::new_v4().to_string();
    let accepted: Accepted = remote.post(&format!("/api/targets/{target}/verbs/{verb}"), &key)?;
    let view = follow::until_finished(&remote, &accepted, args.json, FollowLimits::DEFAULT)?;
    report(&view, args.json)
}

fn choose_target(remote: &Remote, named: Option<&str>) -> Result<String, Failure> {
    if let Some(name) = named {
        return Ok(name.to_owned());
    }
    let mut targets: Vec<TargetName> = remote.get("/api/targets")?;
    match (targets.pop(), targets.as_slice()) {
        (Some(only), []) => Ok(only.name),
        (None, _) => Err(Failure::new(Exit::Failed, "the server has no target")),
        (Some(last), others) => {
            let names: Vec<&str> = others
                .iter()
                .chain([&last])
                .map(|t| t.name.as_str())
                .collect();
            let names = names.join(", ");
            Err(Failure::new(
                Exit::Usage,
                format!("choose a target with --target: {names}"),
            ))
        }
    }
}

/// Prints the result of the operation and returns its exit code.
pub(crate) fn report(view: &OperationView, json: bool) -> Result<Exit, Failure> {
    if json {
        let text = serde_json::to_string(view)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        print_json(&text);
    } else if let Some(message) = &view.message {
        print_error(message);
    }
    Ok(view.outcome.map_or(Exit::Failed, exit_of))
}

/// The exit code for an outcome.
pub(crate) const fn exit_of(outcome: VerbOutcome) -> Exit {
    match outcome {
        VerbOutcome::Done => Exit::Done,
        VerbOutcome::Failed | VerbOutcome::Interrupted => Exit::Failed,
        VerbOutcome::Refused => Exit::Refused,
        VerbOutcome::Unreachable => Exit::Unreachable,
    }
}
