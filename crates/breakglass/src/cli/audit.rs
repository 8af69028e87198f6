use std::path::{Path, PathBuf};

use breakglass_log::{Tombstone, VerifiedIncident, VerifyReport};
use clap::{Args, Subcommand};

use super::{Exit, Failure, record_file, say};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check every hash chain; exit 1 names the first event that does not hold.
    ///
    /// Run it when you want to rely on what the record says: after an incident, on a schedule, or on an
    /// export that somebody sent. The record may be in use, and is not changed. A line an incident,
    /// with the newest hash that holds, which is worth noting where nobody can change it; then a line
    /// for each incident that retention removed. docs/record.md says what this proves and what not.
    #[command(after_help = "Examples:
  breakglass audit verify --data-dir /var/lib/breakglass
  breakglass audit verify --file incident.jsonl  # an export, without any record")]
    Verify {
        /// The server's data directory, or its record file.
        #[arg(
            long,
            env = "BREAKGLASS_DATA_DIR",
            value_name = "PATH",
            required_unless_present = "file"
        )]
        data_dir: Option<PathBuf>,
        /// An exported incident, in place of a record.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    let AuditCommand::Verify { data_dir, file } = &args.command;
    match (file, data_dir) {
        (Some(file), _) => export(file),
        (None, Some(data_dir)) => record(&record_file(data_dir)),
        (None, None) => Err(Failure::new(Exit::Usage, "give --data-dir or --file")),
    }
}

fn record(path: &Path) -> Result<Exit, Failure> {
    let report = breakglass_log::verify(path)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    for line in lines(&report) {
        say(&line);
    }
    Ok(exit(report.is_sound()))
}

fn export(file: &Path) -> Result<Exit, Failure> {
    let found = breakglass_log::verify_export(file)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    say(&line(&found));
    Ok(exit(found.fault.is_none()))
}

const fn exit(sound: bool) -> Exit {
    if sound { Exit::Done } else { Exit::Failed }
}

/// A line an incident, with the newest hash that holds; then what retention removed, and what fits
/// neither.
fn lines(report: &VerifyReport) -> Vec<String> {
    let removed = |gone: &Tombstone| format!("{} {} {gone}", gone.incident, gone.target);
    report
        .incidents
        .iter()
        .map(line)
        .chain(report.removed.iter().map(removed))
        .chain(report.faults.iter().map(|fault| format!("BROKEN: {fault}")))
        .collect()
}

/// How far one incident's chain holds.
pub(crate) fn line(one: &VerifiedIncident) -> String {
    let (incident, target) = (one.incident, &one.target);
    match &one.fault {
        None => format!(
            "{incident} {target} holds: {} events, {}",
            one.events, one.head_hash
        ),
        Some(fault) => format!(
            "{incident} {target} BROKEN at event {}: {}",
            fault.seq, fault.message
        ),
    }
}
