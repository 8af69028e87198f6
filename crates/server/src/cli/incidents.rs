use breakglass_journal::{IncidentId, IncidentSummary};
use clap::{Args, Subcommand};

use super::remote::Remote;
use super::{Exit, Failure, ServerArgs, say};

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
    List,
    /// One incident's summary.
    Show {
        /// The incident.
        incident: IncidentId,
    },
    /// The incident as a Markdown report.
    Report {
        /// The incident.
        incident: IncidentId,
    },
}

pub(crate) fn run(args: &IncidentsArgs) -> Result<Exit, Failure> {
    let remote = Remote::new(&args.server)?;
    match &args.command {
        IncidentsCommand::List => {
            let all: Vec<IncidentSummary> = remote.get("/api/incidents")?;
            print(&all, args.json)?;
        }
        IncidentsCommand::Show { incident } => {
            let one: IncidentSummary = remote.get(&format!("/api/incidents/{incident}"))?;
            print(std::slice::from_ref(&one), args.json)?;
        }
        IncidentsCommand::Report { incident } => {
            say(remote
                .get_text(&format!("/api/incidents/{incident}/report.md"))?
                .trim_end());
        }
    }
    Ok(Exit::Done)
}

fn print(incidents: &[IncidentSummary], json: bool) -> Result<(), Failure> {
    for incident in incidents {
        if json {
            let text = serde_json::to_string(incident)
                .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            say(&text);
        } else {
            let state = incident.closed_at.as_deref().map_or("open", |_| "closed");
            let drill = if incident.drill { " DRILL" } else { "" };
            say(&format!(
                "{} {} {} {state} {} events{drill}",
                incident.incident, incident.opened_at, incident.target, incident.head
            ));
        }
    }
    Ok(())
}
