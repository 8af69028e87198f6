use breakglass_log::IncidentSummary;
use breakglass_model::IncidentId;
use clap::{Args, Subcommand};

use super::remote::Remote;
use super::{Exit, Failure, ServerArgs, say, say_json, transfer};

#[derive(Debug, Args)]
pub(crate) struct IncidentsArgs {
    #[command(subcommand)]
    command: IncidentsCommand,
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum IncidentsCommand {
    /// One line an incident, newest first.
    ///
    /// To find the incident that another command wants by its id.
    #[command(after_help = "Examples:
  breakglass incidents list --server https://rescue.example.org --token-file token
  breakglass incidents list --json | jq -r .incident")]
    List,
    /// One incident's summary.
    ///
    /// To see whether it is open, how long its log is, and whether the agent is at work.
    #[command(after_help = "Examples:
  breakglass incidents show 01a20a48-ff12-76e4-b170-59185cf2be2e --json")]
    Show {
        /// The incident.
        incident: IncidentId,
    },
    /// The incident as a Markdown report: summary, tables, timeline.
    ///
    /// For the colleague who takes over, and for the post-mortem. Nothing that a machine or a model
    /// printed is Markdown in it.
    #[command(after_help = "Examples:
  breakglass incidents report 01a20a48-ff12-76e4-b170-59185cf2be2e > report.md")]
    Report {
        /// The incident.
        incident: IncidentId,
    },
    /// The incident as one file that proves itself.
    ///
    /// For an archive, for another record, and before retention removes it. JSON lines: a header, then
    /// every event with its hash, as it was recorded; pictures of the screen are not in it. With
    /// --data-dir no server is needed, and none is disturbed. What it holds is as secret as the record.
    #[command(after_help = "Examples:
  breakglass incidents export 01a20a48-ff12-76e4-b170-59185cf2be2e --output incident.jsonl
  breakglass incidents export 01a20a48-ff12-76e4-b170-59185cf2be2e --data-dir /data > it.jsonl
  breakglass audit verify --file incident.jsonl  # proves it, anywhere")]
    Export(transfer::ExportArgs),
    /// Take an exported incident into the record of a server that is down.
    ///
    /// To read it in the page again. It keeps its id and its hashes, and is closed. The file is proved
    /// first, and nothing is written where anything is off; imported twice, it is there once. Run it as the
    /// server's user.
    #[command(after_help = "Examples:
  breakglass incidents import incident.jsonl --data-dir /var/lib/breakglass")]
    Import(transfer::ImportArgs),
}

pub(crate) fn run(args: &IncidentsArgs) -> Result<Exit, Failure> {
    let remote = || Remote::new(&args.server);
    match &args.command {
        IncidentsCommand::List => {
            let all: Vec<IncidentSummary> = remote()?.get("/api/incidents")?;
            print(&all, args.json)?;
        }
        IncidentsCommand::Show { incident } => {
            let one: IncidentSummary = remote()?.get(&format!("/api/incidents/{incident}"))?;
            print(std::slice::from_ref(&one), args.json)?;
        }
        IncidentsCommand::Report { incident } => {
            say(remote()?
                .get_text(&format!("/api/incidents/{incident}/report.md"))?
                .trim_end());
        }
        IncidentsCommand::Export(export) => return transfer::export(export, &args.server),
        IncidentsCommand::Import(file) => return transfer::take(file, args.json),
    }
    Ok(Exit::Done)
}

fn print(incidents: &[IncidentSummary], json: bool) -> Result<(), Failure> {
    for incident in incidents {
        if json {
            let text = serde_json::to_string(incident)
                .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            say_json(&text);
        } else {
            let state = incident.closed_at.map_or("open", |_| "closed");
            let drill = if incident.drill { " DRILL" } else { "" };
            say(&format!(
                "{} {} {} {state} {} events{drill}",
                incident.incident, incident.opened_at, incident.target, incident.head
            ));
        }
    }
    Ok(())
}
