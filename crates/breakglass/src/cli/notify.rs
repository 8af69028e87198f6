//! Tests the receivers of notifications from here, without a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use super::{Exit, Failure, print_json, print_line, runtime};
use breakglass_notify::send_tests;

#[derive(Debug, Args)]
pub(crate) struct NotifyArgs {
    #[command(subcommand)]
    command: NotifyCommand,
}

#[derive(Debug, Subcommand)]
enum NotifyCommand {
    /// Send one test message to each receiver and print the answers; exit 1 if one refused it.
    ///
    /// Run it after a receiver was added or changed, so that the person on call sees that it works.
    #[command(after_help = "Examples:
  breakglass notify test --config /etc/breakglass/config.toml")]
    Test(TestArgs),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// The server's configuration, with its `[[notifications.receivers]]` sections.
    #[arg(long, env = "BREAKGLASS_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Print one JSON list: `[{name, taken, message}]`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &NotifyArgs) -> Result<Exit, Failure> {
    let NotifyCommand::Test(args) = &args.command;
    runtime::seal_memory()?;
    let config = super::serve::load(&args.config)?;
    runtime::init_tracing(LevelFilter::ERROR);
    if config.notify.receivers.is_empty() {
        let file = args.config.display();
        let message = format!("{file} has no receiver; add a [[notifications.receivers]] section");
        return Err(Failure::new(Exit::Usage, message));
    }
    let answers = send_tests(&config.notify);
    let all_accepted = answers.iter().all(|(_, answer)| answer.is_ok());
    if args.json {
        let lines = answers.iter().map(|(name, answer)| {
            let (Ok(message) | Err(message)) = answer;
            json!({ "name": name, "taken": answer.is_ok(), "message": message })
        });
        print_json(&lines.collect::<serde_json::Value>().to_string());
    } else {
        for (name, answer) in &answers {
            let (Ok(message) | Err(message)) = answer;
            let result = if answer.is_ok() {
                "accepted"
            } else {
                "refused"
            };
            print_line(&format!("{result:9}  {name:28}  {message}."));
        }
    }
    Ok(if all_accepted {
        Exit::Done
    } else {
        Exit::Failed
    })
}
