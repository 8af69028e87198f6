use std::io::Write;
use std::path::Path;

use super::file::ExportError;
use super::rows;
use crate::store::{format_of, open_read_only};
use breakglass_model::IncidentId;

/// Writes an incident's export from the log file at `path`, which may be in use and is not changed. A log with a broken
/// chain is exported as it is; [`verify_export`](super::verify_export) reports that.
///
/// # Errors
/// [`ExportError`] if the incident does not exist, the log cannot be read, or `out` fails.
pub fn export_from(
    path: &Path,
    incident: IncidentId,
    out: &mut impl Write,
) -> Result<(), ExportError> {
    let failed = |error: rusqlite::Error| ExportError::record(path, &error);
    let mut connection = open_read_only(path).map_err(failed)?;
    // One transaction: a server that goes on writing is seen at one moment.
    let transaction = connection.transaction().map_err(failed)?;
    format_of(&transaction).map_err(|reason| ExportError::record(path, &reason))?;
    let begun = rows::begin(&transaction, incident).map_err(failed)?;
    let (header, mut progress) = begun.ok_or(ExportError::NotFound { incident })?;
    out.write_all(&header).map_err(ExportError::unwritable)?;
    while !progress.is_done() {
        let lines = rows::page(&transaction, &mut progress).map_err(failed)?;
        if lines.is_empty() {
            break;
        }
        out.write_all(&lines).map_err(ExportError::unwritable)?;
    }
    out.flush().map_err(ExportError::unwritable)
}
