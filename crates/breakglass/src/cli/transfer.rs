//! Exports incidents to files and imports them into another log.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use breakglass_log::{export_from, import, verify_export};
use breakglass_model::IncidentId;
use clap::Args;
use tempfile::NamedTempFile;

use super::remote::Remote;
use super::{Exit, Failure, ServerArgs, audit, log_file, print_error, print_json, print_line};
use breakglass_server::instance_lock::InstanceLock;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The id of the incident.
    incident: IncidentId,
    /// A new file for the export [default: standard output].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Export from this data directory or log file, without a server.
    #[arg(long, value_name = "PATH")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A file written by `incidents export`.
    file: PathBuf,
    /// The data directory or log file to import into; its server must be down.
    #[arg(long, env = "BREAKGLASS_DATA_DIR", value_name = "PATH")]
    data_dir: PathBuf,
}

/// Writes the export to a temporary file, verifies it, and then renames or prints it. An export with a
/// broken chain is delivered too, and the fault is reported.
pub(crate) fn export(args: &ExportArgs, server: &ServerArgs) -> Result<Exit, Failure> {
    let dir = args.output.as_deref().and_then(Path::parent);
    let dir = dir.filter(|dir| !dir.as_os_str().is_empty());
    let created = match (&args.output, dir) {
        (None, _) => NamedTempFile::new(),
        (Some(_), dir) => NamedTempFile::new_in(dir.unwrap_or(Path::new("."))),
    };
    let mut file = created.map_err(unwritable)?;
    match &args.data_dir {
        Some(data_dir) => export_from(&log_file(data_dir), args.incident, &mut file)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?,
        None => {
            let path = format!("/api/incidents/{}/export", args.incident);
            let mut body = Remote::new(server)?.stream(&path, None)?;
            copy(&mut body, &mut file)?;
        }
    }
    let found = verify_export(file.path())
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    deliver(file, args.output.as_deref())?;
    print_error(&audit::line(&found));
    Ok(match found.fault {
        None => Exit::Done,
        Some(_) => Exit::Failed,
    })
}

/// Copies the response. Fails if the connection breaks, because then the export is incomplete.
fn copy(body: &mut impl Read, file: &mut impl Write) -> Result<(), Failure> {
    let mut block = vec![0; 64 * 1024];
    loop {
        let read = body.read(&mut block).map_err(|error| {
            let message = format!("the export was cut off: {error}; try again");
            Failure::new(Exit::Unreachable, message)
        })?;
        if read == 0 {
            return file.flush().map_err(unwritable);
        }
        file.write_all(&block[..read]).map_err(unwritable)?;
    }
}

fn deliver(file: NamedTempFile, output: Option<&Path>) -> Result<(), Failure> {
    let Some(output) = output else {
        let mut whole = file.reopen().map_err(unwritable)?;
        return io::copy(&mut whole, &mut io::stdout())
            .map(drop)
            .map_err(unwritable);
    };
    file.as_file().sync_all().map_err(unwritable)?;
    let persisted = file.persist_noclobber(output).map(drop);
    persisted.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!(
                "{} exists and is not overwritten; choose another file with --output",
                output.display()
            );
            Failure::new(Exit::Usage, message)
        }
        _ => unwritable(error.error),
    })
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "fits where errors are mapped"
)]
fn unwritable(error: io::Error) -> Failure {
    let message =
        format!("the export can't be written: {error}; free space, or choose another file");
    Failure::new(Exit::Failed, message)
}

/// Imports an export into the log of a server that is down.
pub(crate) fn import_file(args: &ImportArgs, json: bool) -> Result<Exit, Failure> {
    if !args.data_dir.exists() {
        let message = format!(
            "{} does not exist; give the data_dir of a server that is down, or create it first",
            args.data_dir.display()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let log_file = log_file(&args.data_dir);
    let directory = log_file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let _lock = InstanceLock::acquire(directory.unwrap_or(Path::new(".")))
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let imported = import(&args.file, &log_file)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    if json {
        let text = serde_json::to_string(&imported)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        print_json(&text);
        return Ok(Exit::Done);
    }
    let result = if imported.new {
        "imported"
    } else {
        "was already imported"
    };
    print_line(&format!(
        "{} {} {result}: {} events, {}",
        imported.incident, imported.target, imported.events, imported.head_hash
    ));
    Ok(Exit::Done)
}
