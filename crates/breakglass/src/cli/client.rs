//! Runs a verb from the command line: through a server, or with `--direct` on the host itself.

use breakglass_control::power::{Accepted, OperationView};
use breakglass_verbs::Verb;
use serde::Deserialize;

use super::follow::{self, FollowLimits};
use super::remote::Remote;
use super::verb::{VerbArgs, exit_of};
use super::{Exit, Failure, direct, print_error, print_json};

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
