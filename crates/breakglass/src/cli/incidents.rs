//! The commands on incidents: list, show, report, export, import. The last two are in `transfer`.

use breakglass_log::IncidentSummary;
use breakglass_model::IncidentId;
use clap::{Args, Subcommand};

use super::remote::Remote;
use super::{Exit, Failure, ServerArgs, print_json, print_line, transfer};

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
    /// List incidents, one per line, newest first.
    ///
    /// Use it to find the id of an incident for another command.
    #[command(after_help = "Examples:
  breakglass incidents list --server https://rescue.example.org --token-file token
  breakglass incidents list --json | jq -r .incident")]
    List,
    /// Show the summary of one incident.
    ///
    /// It shows whether the incident is open, how long its log is, and whether the agent is working.
    #[command(after_help = "Examples:
  breakglass incidents show 01a20a48-ff12-76e4-b170-59185cf2be2e --json")]
    Show {
        /// The id of the incident.
        incident: IncidentId,
    },
    /// Print the incident as a Markdown report: summary, tables, timeline.
    ///
    /// Use it for a colleague who takes over, and for the post-mortem. Output of machines and models
    /// is never interpreted as Markdown in it.
    #[command(after_help = "Examples:
  breakglass incidents report 01a20a48-ff12-76e4-b170-59185cf2be2e > report.md")]
    Report {
        /// The id of the incident.
        incident: IncidentId,
    },
    /// Export the incident as one file that can be verified alone.
    ///
    /// Use it for an archive, for the import into another log, or before retention removes the
    /// incident. The file has JSON lines: a header, then every event with its hash as recorded.
    /// Screenshots are not included. With --data-dir no server is needed, and a running one is not
    /// disturbed. Keep the file as secret as the log.
    #[command(after_help = "Examples:
  breakglass incidents export 01a20a48-ff12-76e4-b170-59185cf2be2e --output incident.jsonl
  breakglass incidents export 01a20a48-ff12-76e4-b170-59185cf2be2e --data-dir /data > it.jsonl
  breakglass audit verify --file incident.jsonl  # verify it, anywhere")]
    Export(transfer::ExportArgs),
    /// Import an exported incident into the log of a server that is down.
    ///
    /// Use it to read the incident on the page again. It keeps its id and its hashes, and is closed. The
    /// file is verified first, and nothing is written if it has a fault. Importing it again changes
    /// nothing. Run this command as the server's user.
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
            print_line(
                remote()?
                    .get_text(&format!("/api/incidents/{incident}/report.md"))?
                    .trim_end(),
            );
        }
        IncidentsCommand::Export(export) => return transfer::export(export, &args.server),
        IncidentsCommand::Import(file) => return transfer::import_file(file, args.json),
    }
    Ok(Exit::Done)
}

fn print(incidents: &[IncidentSummary], json: bool) -> Result<(), Failure> {
    for incident in incidents {
        if json {
            let text = serde_json::to_string(incident)
                .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            print_json(&text);
        } else {
            let state = incident.closed_at.map_or("open", |_| "closed");
            let drill = if incident.drill { " DRILL" } else { "" };
            print_line(&format!(
                "{} {} {} {state} {} events{drill}",
                incident.incident, incident.opened_at, incident.target, incident.head
            ));
        }
    }
    Ok(())
}
