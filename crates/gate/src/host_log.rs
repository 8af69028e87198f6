//! The gate's own log on the host: one line for each decision, in a private file and in syslog.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::{file, text};

/// Timeout of a write: a stuck disk must not delay the verb.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of characters of a request in a log line. The rest is counted.
const REQUEST_MAX_CHARS: usize = 120;
const DECISION_MAX_CHARS: usize = 240;
/// Facility `auth` (4), severity `notice` (5), encoded as in RFC 3164.
const SYSLOG_PRIORITY: u8 = 4 * 8 + 5;

/// What a client sent, and from which address. Both are untrusted and unescaped.
#[derive(Debug, Clone, Copy)]
pub struct ClientRequest<'a> {
    /// The peer's address, from `SSH_CONNECTION`.
    pub source: &'a str,
    /// The line that the client sent, from `SSH_ORIGINAL_COMMAND`.
    pub line: &'a str,
}

/// A log of the gate's decisions.
pub trait HostLog: Send + Sync {
    /// Appends one decision, such as `accepted`, or a result.
    ///
    /// # Errors
    /// A sentence. The gate shows it to the operator and continues, because power verbs must work
    /// even if nothing can be logged.
    fn record(&self, request: ClientRequest<'_>, decision: &str) -> Result<(), String>;
}

/// Discards everything. For a drill, whose incident log records every verb.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHostLog;

impl HostLog for NoHostLog {
    fn record(&self, _request: ClientRequest<'_>, _decision: &str) -> Result<(), String> {
        Ok(())
    }
}

/// A private file with one line for each decision, copied to syslog.
#[derive(Debug, Clone)]
pub struct FileHostLog {
    /// Created with mode 0600.
    pub file: PathBuf,
    /// A datagram socket. It may be absent.
    pub syslog: PathBuf,
}

impl HostLog for FileHostLog {
    fn record(&self, request: ClientRequest<'_>, decision: &str) -> Result<(), String> {
        let source = text::ascii(request.source, REQUEST_MAX_CHARS);
        let line = text::ascii(request.line, REQUEST_MAX_CHARS);
        let decision = text::visible(decision, DECISION_MAX_CHARS);
        let entry = format!("source={source} request=\"{line}\" {decision}");
        let pid = std::process::id();
        let message = format!("<{SYSLOG_PRIORITY}>breakglass-gate[{pid}]: {entry}");
        // The file is authoritative. Without syslog, or with a full queue, only the copy is lost.
        let _ = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to(message.as_bytes(), &self.syslog)
        });
        let line = format!("{} {entry}\n", text::utc(SystemTime::now()));
        file::append(&self.file, line, WRITE_TIMEOUT).map_err(|error| {
            format!("the gate's log can't be written: {error}; the verb runs without a log entry")
        })
    }
}
