//! The cold case: runs a verb over SSH from here, with the key and without a server.

use breakglass_control::Target;
use breakglass_control::power;
use breakglass_model::OutputStream;
use breakglass_verbs::Verb;

use super::verb::{VerbArgs, exit_of};
use super::{Exit, Failure, print_error, print_json, print_line};
use breakglass_config::Config;

pub(crate) fn run(verb: Verb, args: &VerbArgs) -> Result<Exit, Failure> {
    let Some(file) = &args.config else {
        let message = "--direct needs --config FILE, which has the target and the key";
        return Err(Failure::new(Exit::Usage, message));
    };
    let config = super::serve::load(file)?;
    let target = choose_target(&config, args.target.as_deref())?;
    let key = breakglass_control::ssh::load_key(&config.ssh.key_file)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let options = breakglass_config::ssh_options(&config, std::sync::Arc::new(key));
    let outcome =
        super::runtime::block_on(power::direct(target, &options, verb, |stream, line| {
            if args.json {
                return;
            }
            match stream {
                OutputStream::Stdout => print_line(line),
                OutputStream::Stderr => print_error(line),
            }
        }))?;
    if args.json {
        let text = serde_json::to_string(&outcome)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        print_json(&text);
    } else {
        print_error(&outcome.message);
    }
    Ok(exit_of(outcome.outcome))
}

fn choose_target<'a>(config: &'a Config, named: Option<&str>) -> Result<&'a Target, Failure> {
    match (named, config.targets.as_slice()) {
        (Some(name), _) => config.target(name),
        (None, [only]) => Ok(only),
        (None, all) => {
            let names: Vec<_> = all.iter().map(|target| target.name.as_str()).collect();
            Err(format!(
                "choose a target with --target: {}",
                names.join(", ")
            ))
        }
    }
    .map_err(|message| Failure::new(Exit::Usage, message))
}
