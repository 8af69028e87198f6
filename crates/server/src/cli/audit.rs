use std::path::PathBuf;

use breakglass_journal::VerifyReport;
use clap::{Args, Subcommand};

use super::{Exit, Failure, say};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check every incident's hash chain; exit 1 names the first event that does not hold.
    Verify {
        /// The server's data directory, or its record file.
        #[arg(long, env = "BREAKGLASS_DATA_DIR", value_name = "PATH")]
        data_dir: PathBuf,
    },
}

pub(crate) fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    let AuditCommand::Verify { data_dir } = &args.command;
    let path = if data_dir.is_dir() {
        data_dir.join(crate::app::RECORD_FILE)
    } else {
        data_dir.clone()
    };
    let report = breakglass_journal::verify(&path)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    for line in lines(&report) {
        say(&line);
    }
    Ok(if report.is_sound() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// A line an incident, with the newest hash that holds; then what fits no incident.
fn lines(report: &VerifyReport) -> Vec<String> {
    let incidents = report.incidents.iter().map(|one| match &one.fault {
        None => format!(
            "{} {} holds: {} events, {}",
            one.incident, one.target, one.events, one.head_hash
        ),
        Some(fault) => {
            format!(
                "{} {} BROKEN at event {}: {}",
                one.incident, one.target, fault.seq, fault.message
            )
        }
    });
    incidents
        .chain(report.faults.iter().map(|fault| format!("BROKEN: {fault}")))
        .collect()
}
