use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::SystemTime;

use breakglass_verbs::Verdict;

use crate::text;
use crate::utc;

/// Characters of a request that are journalled; the rest is counted.
const REQUEST_SHOWN: usize = 120;
/// Facility `auth` (4), severity `notice` (5), as RFC 3164 packs them.
const SYSLOG_PRIORITY: u8 = 4 * 8 + 5;

/// Where every decision of the gate is written down.
pub trait Journal: Send + Sync {
    /// Keeps one decision, durably.
    ///
    /// # Errors
    /// A sentence. The gate tells it to the operator and goes on: power is never blocked by
    /// bookkeeping.
    fn record(&self, entry: &Entry<'_>) -> Result<(), String>;
}

/// One decision, shown by `Display` as the one line that a journal keeps, without its time.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The peer's address, from `SSH_CONNECTION`.
    pub source: &'a str,
    /// What was asked for, exactly as it came; made harmless when it is shown.
    pub request: &'a str,
    /// What the gate decided, or how it ended.
    pub decision: Decision<'a>,
}

/// What the gate decided, or how it ended.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    /// The request is not in the table, or may not run now; holds why.
    Refused(&'a str),
    /// The verb begins.
    Accepted,
    /// The verb ended with this verdict and exit code.
    Finished(&'a Verdict, u8),
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = text::ascii(self.request, REQUEST_SHOWN);
        write!(
            f,
            "source={} request=\"{request}\" ",
            text::ascii(self.source, 64)
        )?;
        match self.decision {
            Decision::Refused(why) => write!(f, "refused reason=\"{}\"", text::ascii(why, 200)),
            Decision::Accepted => f.write_str("accepted"),
            Decision::Finished(verdict, exit) => {
                let verdict = text::ascii(&verdict.to_string(), 200);
                write!(f, "finished verdict=\"{verdict}\" exit={exit}")
            }
        }
    }
}

/// Keeps nothing: for a drill, whose own log records every verb.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Journal for Silent {
    fn record(&self, _entry: &Entry<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// A private file with one line a decision, and syslog beside it.
#[derive(Debug, Clone)]
pub struct FileJournal {
    file: PathBuf,
    syslog: PathBuf,
}

impl FileJournal {
    /// A journal in `file` (created with mode 0600) and on the datagram socket `syslog`, which may
    /// be absent.
    #[must_use]
    pub fn new(file: PathBuf, syslog: PathBuf) -> FileJournal {
        FileJournal { file, syslog }
    }

    fn append(&self, line: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.file)?;
        // One write of one whole line: two gates that append at once don't mix theirs.
        // No sync: a host whose disk is stuck would hold the verb up.
        file.write_all(line.as_bytes())
    }

    fn tell_syslog(&self, entry: &Entry<'_>) {
        let message = format!(
            "<{SYSLOG_PRIORITY}>breakglass-gate[{}]: {entry}",
            std::process::id()
        );
        // The file is the record; a host without syslog, or with a full queue, loses only the copy.
        let _ = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to(message.as_bytes(), &self.syslog)
        });
    }
}

impl Journal for FileJournal {
    fn record(&self, entry: &Entry<'_>) -> Result<(), String> {
        self.tell_syslog(entry);
        let line = format!("{} {entry}\n", utc::rfc3339(SystemTime::now()));
        self.append(&line).map_err(|error| {
            format!(
                "the gate's journal {} can't be written: {error}; the verb runs unrecorded here",
                self.file.display()
            )
        })
    }
}
