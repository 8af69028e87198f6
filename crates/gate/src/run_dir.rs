//! The directory `gate_dir/GUEST`, in which the gate keeps the lock on the guest and the output of
//! its last mutating verb.
//!
//! The lock is the kernel's and is released when its holder dies. The first line of the run file
//! names the worker by process id and start time, which distinguishes a worker that was killed from
//! one that is still running. The next verb reports such an interrupted run, and the next mutating
//! verb replaces it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use breakglass_verbs::Verb;

use crate::driver::process;
use crate::frame::FrameWriter;
use crate::output::Output;
use crate::{file, text};

const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The gate's directory for one guest.
pub(crate) struct RunDir(PathBuf);

/// A mutating verb, as recorded in the run file.
pub(crate) struct Run {
    pub(crate) verb: String,
    /// When it began, in UTC.
    pub(crate) since: String,
    /// Its worker's process id.
    pub(crate) pid: u32,
    /// Whether its worker still exists.
    pub(crate) is_alive: bool,
    has_ended: bool,
}

/// A run that belongs to this process until it ends.
pub(crate) struct ClaimedRun {
    pub(crate) output: FrameWriter<File>,
    _lock: File,
}

impl RunDir {
    pub(crate) fn new(gate_dir: &Path, guest: &str) -> RunDir {
        RunDir(gate_dir.join(guest))
    }

    /// Creates the directory if it does not exist.
    pub(crate) fn create(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true).create(&self.0)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn run_file(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The list of probe processes that hang in the kernel.
    pub(crate) fn hung_probes_file(&self) -> PathBuf {
        self.0.join("hung-probes")
    }

    /// The last run; none if there was none, or if its file is unreadable.
    pub(crate) fn last_run(&self) -> Option<Run> {
        let text = file::text(&self.run_file(), READ_TIMEOUT).ok()??;
        let mut words = text.lines().next()?.split(' ');
        let verb = words.next()?.to_owned();
        let since = words.next()?.to_owned();
        let pid: u32 = words.next()?.parse().ok()?;
        let started: u64 = words.next()?.parse().ok()?;
        let last = text.lines().next_back()?;
        Some(Run {
            verb,
            since,
            pid,
            is_alive: process::is_alive(pid, started),
            has_ended: last.starts_with('='),
        })
    }

    /// A sentence about a mutating verb that is running or was interrupted.
    pub(crate) fn note(&self) -> Option<String> {
        let run = self.last_run().filter(|run| !run.has_ended)?;
        let Run { verb, since, .. } = &run;
        Some(if run.is_alive {
            format!("run: {verb} has been running since {since}; send {verb} to attach to it")
        } else {
            format!(
                "run: {verb} began at {since}, but its worker died before it finished; if the guest is \
                 off, send start or cycle"
            )
        })
    }

    /// Takes the lock and begins a new run file; none if another process holds the lock.
    pub(crate) fn claim(&self, verb: Verb) -> io::Result<Option<ClaimedRun>> {
        let lock = self.open("lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let note = self.note();
        let mut file = self.open("run.new")?;
        file.set_len(0)?;
        let pid = std::process::id();
        let own = process::read(pid).ok().flatten();
        let started = own.map_or(0, |process| process.started);
        let now = text::utc(SystemTime::now());
        writeln!(file, "{verb} {now} {pid} {started}")?;
        fs::rename(self.0.join("run.new"), self.run_file())?;
        let mut output = FrameWriter(file);
        if let Some(note) = note {
            output.error(&note);
        }
        Ok(Some(ClaimedRun {
            output,
            _lock: lock,
        }))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(self.0.join(name))
    }
}
