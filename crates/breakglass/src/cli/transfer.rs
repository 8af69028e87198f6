//! Incidents that leave a record as a file, and come into another one.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use breakglass_log::{export_from, import, verify_export};
use breakglass_model::IncidentId;
use clap::Args;
use tempfile::NamedTempFile;

use super::remote::Remote;
use super::{Exit, Failure, ServerArgs, audit, record_file, say, say_error, say_json};
use breakglass_server::instance_lock::InstanceLock;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The incident.
    incident: IncidentId,
    /// Where it goes, a file that is not there yet; standard output if it is left out.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Take it from this data directory or record file, without a server.
    #[arg(long, value_name = "PATH")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What `incidents export` wrote.
    file: PathBuf,
    /// The data directory, or the record file, that takes it; its server has to be down.
    #[arg(long, env = "BREAKGLASS_DATA_DIR", value_name = "PATH")]
    data_dir: PathBuf,
}

/// Writes the export beside its place first, proves it there, and gives it its name when it is whole.
/// One whose chain is broken is handed out all the same, and said.
pub(crate) fn export(args: &ExportArgs, server: &ServerArgs) -> Result<Exit, Failure> {
    let dir = args.output.as_deref().and_then(Path::parent);
    let dir = dir.filter(|dir| !dir.as_os_str().is_empty());
    let made = match (&args.output, dir) {
        (None, _) => NamedTempFile::new(),
        (Some(_), dir) => NamedTempFile::new_in(dir.unwrap_or(Path::new("."))),
    };
    let mut file = made.map_err(unwritable)?;
    match &args.data_dir {
        Some(data_dir) => export_from(&record_file(data_dir), args.incident, &mut file)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?,
        None => {
            let path = format!("/api/incidents/{}/export", args.incident);
            let mut body = Remote::new(server)?.stream(&path, None)?;
            copy(&mut body, &mut file)?;
        }
    }
    let found = verify_export(file.path())
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    hand_out(file, args.output.as_deref())?;
    say_error(&audit::line(&found));
    Ok(match found.fault {
        None => Exit::Done,
        Some(_) => Exit::Failed,
    })
}

/// An answer that breaks off is no export.
fn copy(body: &mut impl Read, file: &mut impl Write) -> Result<(), Failure> {
    let mut block = vec![0; 64 * 1024];
    loop {
        let read = body.read(&mut block).map_err(|error| {
            let message = format!("the export broke off: {error}; ask again");
            Failure::new(Exit::Unreachable, message)
        })?;
        if read == 0 {
            return file.flush().map_err(unwritable);
        }
        file.write_all(&block[..read]).map_err(unwritable)?;
    }
}

fn hand_out(file: NamedTempFile, output: Option<&Path>) -> Result<(), Failure> {
    let Some(output) = output else {
        let mut whole = file.reopen().map_err(unwritable)?;
        return io::copy(&mut whole, &mut io::stdout())
            .map(drop)
            .map_err(unwritable);
    };
    file.as_file().sync_all().map_err(unwritable)?;
    let kept = file.persist_noclobber(output).map(drop);
    kept.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!(
                "{} is there already and is left alone; name another file with --output",
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
    let message = format!("the export can't be written: {error}; free space, or name another file");
    Failure::new(Exit::Failed, message)
}

/// Takes an export into the record of a server that is down.
pub(crate) fn take(args: &ImportArgs, json: bool) -> Result<Exit, Failure> {
    if !args.data_dir.exists() {
        let message = format!(
            "there is no {}; name the data_dir of a server that is down, or make it first",
            args.data_dir.display()
        );
        return Err(Failure::new(Exit::Usage, message));
    }
    let record = record_file(&args.data_dir);
    let directory = record.parent().filter(|dir| !dir.as_os_str().is_empty());
    let _lock = InstanceLock::acquire(directory.unwrap_or(Path::new(".")))
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let imported = import(&args.file, &record)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    if json {
        let text = serde_json::to_string(&imported)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        say_json(&text);
        return Ok(Exit::Done);
    }
    let how = if imported.new {
        "imported"
    } else {
        "was there before, the same"
    };
    say(&format!(
        "{} {} {how}: {} events, {}",
        imported.incident, imported.target, imported.events, imported.head_hash
    ));
    Ok(Exit::Done)
}
