use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::{file, text};

/// Longest wait for the file: a disk that is stuck must not hold the verb up.
const WRITE: Duration = Duration::from_secs(2);

/// Characters of a request, and of what became of it, that are journalled; the rest is counted.
const SHOWN: usize = 120;
/// Facility `auth` (4), severity `notice` (5), as RFC 3164 packs them.
const SYSLOG_PRIORITY: u8 = 4 * 8 + 5;

/// Who asked for what, as each line of the journal begins. Both exactly as they came; they are made
/// harmless when they are written.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The peer's address, from `SSH_CONNECTION`.
    pub source: &'a str,
    /// The request.
    pub request: &'a str,
}

/// Where every decision of the gate is written down.
pub trait Journal: Send + Sync {
    /// Keeps one decision, or how it ended, such as `accepted`.
    ///
    /// # Errors
    /// A sentence. The gate tells it to the operator and goes on: power is never blocked by
    /// bookkeeping.
    fn record(&self, asked: Asked<'_>, decision: &str) -> Result<(), String>;
}

/// Keeps nothing: for a drill, whose own log records every verb.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Journal for Silent {
    fn record(&self, _asked: Asked<'_>, _decision: &str) -> Result<(), String> {
        Ok(())
    }
}

/// A private file with one line a decision, and syslog beside it.
#[derive(Debug, Clone)]
pub struct FileJournal {
    /// Created with mode 0600.
    pub file: PathBuf,
    /// A datagram socket, which may be absent.
    pub syslog: PathBuf,
}

impl Journal for FileJournal {
    fn record(&self, asked: Asked<'_>, decision: &str) -> Result<(), String> {
        let [source, request] = [asked.source, asked.request].map(|word| text::ascii(word, SHOWN));
        let decision = text::visible(decision, 2 * SHOWN);
        let entry = format!("source={source} request=\"{request}\" {decision}");
        let own = std::process::id();
        let message = format!("<{SYSLOG_PRIORITY}>breakglass-gate[{own}]: {entry}");
        // The file is the record; a host without syslog, or with a full queue, loses only the copy.
        let _ = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to(message.as_bytes(), &self.syslog)
        });
        let line = format!("{} {entry}\n", text::utc(SystemTime::now()));
        file::append(&self.file, line, WRITE).map_err(|error| {
            format!("the gate's journal can't be written: {error}; the verb runs unrecorded here")
        })
    }
}
