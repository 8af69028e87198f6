//! Reads an exported incident: one line at a time, each bounded, and its hash chain checked on the way.
//!
//! Writing an export is `rows`'s business, importing one is `import`'s.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{Header, NOT_ONE};
use crate::canonical::unsplice;
use crate::chain::Hash;
use crate::chain_check::{ChainCheck, Fault};
use crate::options::MAX_EVENT_BYTES;
use crate::verify::{VerifiedIncident, VerifyError};
use breakglass_model::{Event, IncidentId};

/// Maximum length of a line, with hash and newline.
const LINE_BYTES_MAX: u64 = MAX_EVENT_BYTES as u64 + 256;

/// Why an export or an import failed. Every message is a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The incident does not exist.
    #[error("incident {incident} is not in the log; list the incidents to see those that are")]
    NotFound {
        /// The requested incident.
        incident: IncidentId,
    },
    /// The log could not be opened, read or written; nothing was changed.
    #[error("the log {path} cannot be used: {reason}")]
    Record {
        /// Which one.
        path: String,
        /// Why.
        reason: String,
    },
    /// The file could not be read, or is not an export.
    #[error("{0}")]
    File(#[from] VerifyError),
    /// The export does not match its hash chain; nothing was written.
    #[error("the export is not what was recorded, at event {seq}: {message}; nothing was imported")]
    Broken {
        /// The number of the first wrong event.
        seq: u64,
        /// What is wrong.
        message: String,
    },
    /// The log has other events for the incident; nothing was written.
    #[error("incident {incident} differs from the one in the log: {reason}; nothing was imported")]
    Other {
        /// Which one.
        incident: IncidentId,
        /// The difference.
        reason: String,
    },
    /// The export could not be written.
    #[error("the export cannot be written: {reason}; free space, or name another file")]
    Unwritable {
        /// Why.
        reason: String,
    },
}

impl ExportError {
    pub(super) fn record(path: &Path, reason: &impl ToString) -> ExportError {
        ExportError::Record {
            path: path.display().to_string(),
            reason: reason.to_string(),
        }
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "fits where errors are mapped"
    )]
    pub(super) fn unwritable(error: std::io::Error) -> ExportError {
        ExportError::Unwritable {
            reason: error.to_string(),
        }
    }

    pub(super) fn broken(fault: Fault) -> ExportError {
        ExportError::Broken {
            seq: fault.seq,
            message: fault.message,
        }
    }
}

/// Verifies an export without any log. Blocks; keeps one event in memory.
///
/// # Errors
/// [`VerifyError`] if the file can't be read or is no export.
pub fn verify_export(path: &Path) -> Result<VerifiedIncident, VerifyError> {
    let mut lines = Lines::open(path)?;
    let fault = lines.each(|_| Ok::<(), VerifyError>(()))?;
    Ok(VerifiedIncident::after(
        &lines.check,
        lines.header.target,
        fault,
    ))
}

/// One verified event of an export.
pub(super) struct Line<'a> {
    pub(super) event: Event,
    pub(super) canonical: &'a [u8],
    pub(super) hash: Hash,
}

/// An export being read.
pub(super) struct Lines {
    reader: BufReader<File>,
    pub(super) header: Header,
    pub(super) check: ChainCheck,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Lines, VerifyError> {
        let failed = |error: std::io::Error| VerifyError::new(path, error.to_string());
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        let line = read_line(&mut reader).map_err(failed)?;
        let line = line.ok_or_else(|| VerifyError::new(path, format!("{NOT_ONE}: it is empty")))?;
        let header = Header::parse(&line).map_err(|reason| VerifyError::new(path, reason))?;
        let check = ChainCheck::new("header", header.incident, &header.target, header.drill);
        Ok(Lines {
            reader,
            header,
            check,
        })
    }

    /// Passes every verified event to `take`, in order; returns the first fault.
    pub(super) fn each<E: From<VerifyError>>(
        &mut self,
        mut take: impl FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<Option<Fault>, E> {
        loop {
            let seq = self.check.events + 1;
            let broken = |message: String| Ok(Some(Fault { seq, message }));
            let line = match read_line(&mut self.reader) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(self.end()),
                Err(error) => return broken(format!("event {seq} can't be read: {error}")),
            };
            let Some((canonical, hash)) = unsplice(&line) else {
                return broken(format!("event {seq} does not end in its hash"));
            };
            match self.check.take(&canonical, &hash, &line) {
                Err(fault) => return Ok(Some(fault)),
                Ok(event) => take(Line {
                    event,
                    canonical: &canonical,
                    hash,
                })?,
            }
        }
    }

    /// Checks the number of events and the last hash against the header.
    fn end(&self) -> Option<Fault> {
        let hash = crate::canonical::unhex(&self.header.head_hash);
        self.check
            .end(self.header.events, &hash.unwrap_or_default())
    }
}

/// The next line without its end, `None` after the last one.
fn read_line(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(std::io::Error::other(
            "the line is longer than any event, or the file was cut",
        )),
    }
}
