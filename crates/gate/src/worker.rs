//! A mutating verb outlives the connection that asked for it.
//!
//! ```text
//!  ssh channel ── gate (front): tails ──────┐ run file: what the verb says, as it says it
//!       ┊ may break off at any moment       ▼            ▲
//!  ssh channel ── another front: attaches ──┘            │
//!                 gate --worker: own session, holds the lock, serves the verb, writes its end
//! ```
//!
//! The lock is the kernel's, and dies with its holder. The first line of the run file names the
//! holder by process number and start time, so that a run whose worker was killed is told from one
//! that goes on; such a run is explained by the next call, and replaced by the next mutating verb.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use breakglass_verbs::{Request, Verb};

use crate::child;
use crate::driver::proc;
use crate::file;
use crate::output::Output;
use crate::relay::Stuck;
use crate::serve::{Context, last_line};
use crate::text;

/// Longest wait for a worker to say that it began, and for a run to be named by its holder.
const BEGIN: Duration = Duration::from_secs(5);
/// Longest time that a front tails: more than all limits together.
const FOLLOW: Duration = Duration::from_secs(3_600);
const POLL: Duration = Duration::from_millis(20);
/// What a worker says once it has the lock.
const BEGUN: &str = "begun";
const BUSY: &str = "busy";

/// Where the runs of one guest are kept.
pub(crate) struct Runs(PathBuf);

/// The run that a run file tells of.
struct Run {
    verb: String,
    since: String,
    /// Its worker.
    pid: u32,
    /// Whether its worker is still there.
    is_alive: bool,
    has_ended: bool,
}

/// What became of a mutating verb, for the front.
pub(crate) enum Fate {
    /// It ended, or was refused, with this exit code.
    Ended(u8),
    /// Its worker vanished.
    Lost,
    /// No worker could be made; holds why.
    Undone(String),
}

impl Runs {
    pub(crate) fn new(gate_dir: &Path, guest: &str) -> Runs {
        Runs(gate_dir.join(guest))
    }

    /// The directory itself, made if it is not there.
    pub(crate) fn create(&self) -> std::io::Result<()> {
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&self.0)
    }

    /// The looks that still sit in the kernel.
    pub(crate) fn stuck(&self) -> Stuck {
        Stuck(self.0.join("stuck"))
    }

    /// A sentence about a mutating verb that runs, or broke off; nothing if all is in order.
    pub(crate) fn note(&self) -> Option<String> {
        let run = self.read().filter(|run| !run.has_ended)?;
        let Run { verb, since, .. } = &run;
        Some(match run.is_alive {
            true => format!("run: {verb} runs since {since}; send {verb} to attach"),
            false => format!(
                "run: {verb} began at {since}, and its worker is gone before it ended; if the guest is off, \
                 start or cycle brings it back"
            ),
        })
    }

    fn read(&self) -> Option<Run> {
        let text = file::text(&self.0.join("run"), BEGIN).ok()??;
        let mut words = text.lines().next()?.split(' ');
        let (verb, since) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (pid, started): (u32, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let is_alive = matches!(proc::look(pid), Ok(Some(now)) if now.started == started);
        let has_ended = text
            .lines()
            .next_back()
            .is_some_and(|line| line.starts_with('='));
        Some(Run {
            verb,
            since,
            pid,
            is_alive,
            has_ended,
        })
    }

    /// Has a worker do what `request` says, or attaches to the one that does; tells all it says.
    pub(crate) fn follow(
        &self,
        request: Request,
        policy: &Path,
        context: &Context<'_>,
        out: &mut dyn Output,
    ) -> Fate {
        let said = self.begin(request.verb, policy, context.asked.source);
        match said.as_deref().map(str::trim) {
            Ok(BEGUN) => self.tail(request, out),
            Ok(BUSY) => match self.holder() {
                Some(run) if run.verb == request.verb.as_str() => {
                    context.note(&format!("attached since={}", run.since), out);
                    out.line(&format!(
                        "attached to {} that runs since {}",
                        run.verb, run.since
                    ));
                    self.tail(request, out)
                }
                run => {
                    let what = run.map_or("another verb is about to begin".to_owned(), |run| {
                        format!("{} runs since {}", run.verb, run.since)
                    });
                    let allowed =
                        "status, forensics, vitals, screenshot, and the verb that runs, to attach";
                    Fate::Ended(context.refuse(&what, allowed, out))
                }
            },
            Ok(why) => Fate::Undone(why.to_owned()),
            Err(why) => Fate::Undone(why.clone()),
        }
    }

    /// The run of the worker that holds the lock, once it has named itself.
    fn holder(&self) -> Option<Run> {
        let deadline = Instant::now() + BEGIN;
        loop {
            let run = self.read().filter(|run| run.is_alive);
            if run.is_some() || Instant::now() >= deadline {
                return run;
            }
            thread::sleep(POLL);
        }
    }

    /// Tells what the run file holds and gets, until the run has ended or its worker is gone.
    fn tail(&self, request: Request, out: &mut dyn Output) -> Fate {
        let file = match file::open(&self.0.join("run")) {
            Ok(file) => file,
            Err(_) => return Fate::Lost,
        };
        let (mut reader, mut line, mut verdict) = (BufReader::new(file), Vec::new(), String::new());
        let deadline = Instant::now() + FOLLOW;
        while Instant::now() < deadline {
            // Looked at first: what the worker wrote before its end is still read.
            let is_alive = self.read().is_some_and(|run| run.is_alive);
            let read = reader.read_until(b'\n', &mut line);
            if line.ends_with(b"\n") {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                match text.split_at_checked(1) {
                    Some(("|", text)) => match text.strip_prefix("verdict: ") {
                        Some(last) => verdict = last.to_owned(),
                        None => out.line(text),
                    },
                    Some(("!", text)) => out.error(text),
                    Some(("=", exit)) => {
                        let exit = exit.parse().unwrap_or(1);
                        out.line(&last_line(request, &verdict, exit));
                        return Fate::Ended(exit);
                    }
                    _ => {}
                }
            } else if read.is_err() || !is_alive {
                break;
            } else {
                thread::sleep(POLL);
            }
        }
        Fate::Lost
    }

    /// The worker's side: takes the lock and a session of its own, and begins a run file. Says on
    /// standard output what became of it; nothing is returned unless it may go on.
    pub(crate) fn claim(&self, verb: Verb) -> Option<RunFile> {
        // Not when it leads a group already; then nobody hangs it up either.
        let _ = rustix::process::setsid();
        let mut says = std::io::stdout();
        let (word, run) = match self.try_claim(verb) {
            Ok(Some(run)) => (BEGUN.to_owned(), Some(run)),
            Ok(None) => (BUSY.to_owned(), None),
            Err(error) => (format!("{} can't be used: {error}", self.0.display()), None),
        };
        // A front that is gone already misses the word; the verb was accepted and goes on.
        let _ = writeln!(says, "{word}").and_then(|()| says.flush());
        run
    }

    fn try_claim(&self, verb: Verb) -> std::io::Result<Option<RunFile>> {
        let open = |name: &str| {
            let mut options = File::options();
            options
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(self.0.join(name))
        };
        let lock = open("lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let note = self.note();
        let new = self.0.join("run.new");
        let mut file = open("run.new")?;
        file.set_len(0)?;
        let pid = std::process::id();
        let started = proc::look(pid).ok().flatten().map_or(0, |own| own.started);
        writeln!(
            file,
            "{verb} {} {pid} {started}",
            text::utc(SystemTime::now())
        )?;
        fs::rename(new, self.0.join("run"))?;
        let mut run = RunFile { file, _lock: lock };
        note.iter().for_each(|note| run.error(note));
        Ok(Some(run))
    }

    /// Starts a worker for `verb`; its first words.
    fn begin(&self, verb: Verb, policy: &Path, source: &str) -> Result<String, String> {
        let mut worker = itself("--worker", policy, verb.as_str(), source);
        let spawned = worker.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut worker = spawned.map_err(|error| format!("a worker can't be started: {error}"))?;
        let words = worker.stdout.take().ok_or("a worker has no voice")?;
        let said = child::within(BEGIN, "the worker", move || {
            let mut said = String::new();
            let read = BufReader::new(words).read_line(&mut said);
            read.map(|_| said).map_err(|error| error.to_string())
        });
        if said.is_err() {
            // On a host that swaps its words may come late as well as the worker itself.
            let own = |run: Run| run.is_alive && run.pid == worker.id();
            if self.read().is_some_and(own) {
                return Ok(BEGUN.to_owned());
            }
            // It would begin later, beside the channel that does its work instead.
            let _ = worker.kill();
        }
        said
    }
}

/// The running program itself, also after an update has put another one in its place, to serve `line`
/// behind the channel in the way that `word` says.
pub(crate) fn itself(word: &str, policy: &Path, line: &str, source: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("breakglass-gate")
        .arg(word)
        .arg("--policy")
        .arg(policy)
        .env_clear()
        .env("SSH_ORIGINAL_COMMAND", line)
        .env("SSH_CONNECTION", source)
        .current_dir("/")
        .stderr(Stdio::null());
    command
}

/// Where a worker writes what its verb says: one line each, after a mark that says what it is.
pub(crate) struct RunFile {
    file: File,
    /// Held until the worker ends.
    _lock: File,
}

impl RunFile {
    fn write(&mut self, mark: char, text: &str) {
        let _ = self.file.write_all(format!("{mark}{text}\n").as_bytes());
    }

    /// The last line: what it ended with.
    pub(crate) fn end(&mut self, exit: u8) {
        self.write('=', &exit.to_string());
    }
}

impl Output for RunFile {
    fn line(&mut self, text: &str) {
        self.write('|', text);
    }

    fn error(&mut self, text: &str) {
        self.write('!', text);
    }

    fn picture(&mut self, _bytes: &[u8]) {}
}
