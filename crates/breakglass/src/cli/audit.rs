use std::path::{Path, PathBuf};

use breakglass_log::{Tombstone, VerifiedIncident, VerifyReport};
use clap::{Args, Subcommand};

use super::{Exit, Failure, log_file, print_line};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Recompute every hash chain; exit 1 and name the first wrong event if one is broken.
    ///
    /// Run it when you need to rely on the log: after an incident, on a schedule, or on an export that
    /// you received. The log may be in use and is not changed. Prints one line per incident with its
    /// last hash, which is worth keeping in a place that no one can change, and one line for each
    /// incident that retention removed. docs/record.md explains what this proves and what it does not.
    #[command(after_help = "Examples:
  breakglass audit verify --data-dir /var/lib/breakglass
  breakglass audit verify --file incident.jsonl  # an export, without a server's log")]
    Verify {
        /// The server's data directory, or its log file.
        #[arg(
            long,
            env = "BREAKGLASS_DATA_DIR",
            value_name = "PATH",
            required_unless_present = "file"
        )]
        data_dir: Option<PathBuf>,
        /// An exported incident instead of a server's log.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    let AuditCommand::Verify { data_dir, file } = &args.command;
    match (file, data_dir) {
        (Some(file), _) => export(file),
        (None, Some(data_dir)) => log(&log_file(data_dir)),
        (None, None) => Err(Failure::new(Exit::Usage, "give --data-dir or --file")),
    }
}

fn log(path: &Path) -> Result<Exit, Failure> {
    let report = breakglass_log::verify(path)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    for line in lines(&report) {
        print_line(&line);
    }
    Ok(exit(report.is_sound()))
}

fn export(file: &Path) -> Result<Exit, Failure> {
    let found = breakglass_log::verify_export(file)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    print_line(&line(&found));
    Ok(exit(found.fault.is_none()))
}

const fn exit(sound: bool) -> Exit {
    if sound { Exit::Done } else { Exit::Failed }
}

/// One line per incident with its last hash, then the removed incidents and other faults.
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

/// The result for one incident.
pub(crate) fn line(one: &VerifiedIncident) -> String {
    let incident = one.incident;
    let target = &one.target;
    match &one.fault {
        None => format!(
            "{incident} {target} verified: {} events, {}",
            one.events, one.head_hash
        ),
        Some(fault) => format!(
            "{incident} {target} BROKEN at event {}: {}",
            fault.seq, fault.message
        ),
    }
}
