//! A verb from the command line: through a server, or straight to the host with the key.

use std::path::PathBuf;

use breakglass_control::power::{Accepted, OperationView};
use breakglass_model::VerbOutcome;
use breakglass_verbs::Verb;
use clap::Args;
use serde::Deserialize;

use super::follow::{self, Patience};
use super::remote::Remote;
use super::{Exit, Failure, ServerArgs, direct, say_error, say_json};

#[derive(Debug, Args)]
pub(crate) struct VerbArgs {
    /// The machine; may be left out where there is only one.
    #[arg(long, env = "BREAKGLASS_TARGET", value_name = "NAME")]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Go to the host over SSH from here, without any server, even if one is named: the cold case.
    #[arg(long)]
    direct: bool,
    /// With --direct: the configuration that names target and key.
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
    let target = the_target(&remote, args.target.as_deref())?;
    let key = uuid::Uuid::new_v4().to_string();
    let accepted: Accepted = remote.post(&format!("/api/targets/{target}/verbs/{verb}"), &key)?;
    let view = follow::to_its_end(&remote, &accepted, args.json, Patience::USUAL)?;
    report(&view, args.json)
}

fn the_target(remote: &Remote, named: Option<&str>) -> Result<String, Failure> {
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
                format!("name one with --target: {names}"),
            ))
        }
    }
}

/// Prints how the operation ended and gives its exit code.
pub(crate) fn report(view: &OperationView, json: bool) -> Result<Exit, Failure> {
    if json {
        let text = serde_json::to_string(view)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        say_json(&text);
    } else if let Some(message) = &view.message {
        say_error(message);
    }
    Ok(view.outcome.map_or(Exit::Failed, exit_of))
}

/// The exit code that stands for an outcome.
pub(crate) const fn exit_of(outcome: VerbOutcome) -> Exit {
    match outcome {
        VerbOutcome::Done => Exit::Done,
        VerbOutcome::Failed | VerbOutcome::Interrupted => Exit::Failed,
        VerbOutcome::Refused => Exit::Refused,
        VerbOutcome::Unreachable => Exit::Unreachable,
    }
}
