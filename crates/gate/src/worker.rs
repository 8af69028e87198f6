//! Mutating verbs run in a worker, which survives the connection that asked for them.
//!
//! ```text
//!  ssh channel ── gate: reads ──────────────┐ run file: the verb's output, while it runs
//!       ┊ may break at any moment           ▼            ▲
//!  ssh channel ── another gate: attaches ───┘            │
//!                 gate --worker: own session, holds the lock, runs the verb, writes its exit code
//! ```

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::{Request, Verb};

use crate::context::Context;
use crate::deadline::with_timeout;
use crate::file;
use crate::frame::Frame;
use crate::output::Output;
use crate::run_dir::{ClaimedRun, Run, RunDir};
use crate::serve::last_line;

/// Timeout for a worker to report its start, and for a run file to name its worker.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of following a run. Longer than the sum of all limits.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(3_600);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// A worker's first line of output if it has the lock.
const STARTED: &str = "started";
/// A worker's first line of output if another worker has the lock.
const BUSY: &str = "busy";

/// What became of a mutating verb.
pub(crate) enum FollowOutcome {
    /// It ended or was refused, with this exit code.
    Ended(u8),
    /// Its worker died.
    WorkerLost,
    /// No worker could be started. Carries the reason.
    NoWorker(String),
}

/// A command that runs this very program again, even if an update has replaced its file, with
/// `flag` and the request `line`.
pub(crate) fn own_command(flag: &str, policy: &Path, line: &str, source: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("breakglass-gate")
        .arg(flag)
        .arg("--policy")
        .arg(policy)
        .env_clear()
        .env("SSH_ORIGINAL_COMMAND", line)
        .env("SSH_CONNECTION", source)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Starts a worker for `request`, or attaches to the one that already runs this verb, and forwards
/// its output.
pub(crate) fn follow(
    request: Request,
    runs: &RunDir,
    policy: &Path,
    context: &Context<'_>,
    out: &mut dyn Output,
) -> FollowOutcome {
    let reply = match start(request.verb, runs, policy, context.client.source) {
        Ok(reply) => reply,
        Err(why) => return FollowOutcome::NoWorker(why),
    };
    match reply.trim() {
        STARTED => tail(request, runs, out),
        BUSY => match current_run(runs) {
            Some(run) if run.verb == request.verb.as_str() => {
                let Run { verb, since, .. } = run;
                context.log(&format!("attached since={since}"), out);
                out.line(&format!(
                    "attached to {verb}, which has been running since {since}"
                ));
                tail(request, runs, out)
            }
            run => FollowOutcome::Ended(refuse(run, context, out)),
        },
        why => FollowOutcome::NoWorker(why.to_owned()),
    }
}

fn refuse(run: Option<Run>, context: &Context<'_>, out: &mut dyn Output) -> u8 {
    let what = match run {
        Some(run) => format!("{} has been running since {}", run.verb, run.since),
        None => "another verb is starting".to_owned(),
    };
    let allowed = "status, forensics, vitals, screenshot, and the running verb, to attach to it";
    context.refuse(&what, allowed, out)
}

/// Starts a worker and returns its first line of output.
fn start(verb: Verb, runs: &RunDir, policy: &Path, source: &str) -> Result<String, String> {
    let spawned = own_command("--worker", policy, verb.as_str(), source).spawn();
    let mut worker = spawned.map_err(|error| format!("no worker can be started: {error}"))?;
    let stdout = worker.stdout.take();
    let stdout = stdout.ok_or("the worker's output could not be captured")?;
    let reply = with_timeout(START_TIMEOUT, "the worker", move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        read.map(|_| line).map_err(|error| error.to_string())
    });
    if reply.is_err() {
        // On a host that swaps, the reply can be late although the worker has started.
        let is_own = |run: Run| run.is_alive && run.pid == worker.id();
        if runs.last_run().is_some_and(is_own) {
            return Ok(STARTED.to_owned());
        }
        // Otherwise it could start later, beside the channel that then runs the verb itself.
        let _ = worker.kill();
    }
    reply
}

/// The run of the worker that holds the lock, as soon as the run file names it.
fn current_run(runs: &RunDir) -> Option<Run> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let run = runs.last_run().filter(|run| run.is_alive);
        if run.is_some() || Instant::now() >= deadline {
            return run;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Forwards the run file, from its beginning, until the run has ended or its worker is gone.
fn tail(request: Request, runs: &RunDir, out: &mut dyn Output) -> FollowOutcome {
    let Ok(file) = file::open(&runs.run_file()) else {
        return FollowOutcome::WorkerLost;
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut verdict = String::new();
    let deadline = Instant::now() + FOLLOW_TIMEOUT;
    while Instant::now() < deadline {
        // Checked before the read, so that the last lines of a worker that ends now are not missed.
        let is_alive = runs.last_run().is_some_and(|run| run.is_alive);
        let read = reader.read_until(b'\n', &mut line);
        let Some(complete) = line.strip_suffix(b"\n") else {
            if read.is_err() || !is_alive {
                break;
            }
            thread::sleep(POLL_INTERVAL);
            continue;
        };
        match Frame::parse(complete) {
            Some(Frame::Line(text)) => match text.strip_prefix("verdict: ") {
                Some(text) => text.clone_into(&mut verdict),
                None => out.line(&text),
            },
            Some(Frame::Error(text)) => out.error(&text),
            Some(Frame::Exit(exit)) => {
                out.line(&last_line(request, &verdict, exit));
                return FollowOutcome::Ended(exit);
            }
            // The first line of the file is its header.
            Some(Frame::Picture(_)) | None => {}
        }
        line.clear();
    }
    FollowOutcome::WorkerLost
}

/// The worker's side: enters a session of its own, claims the run, and reports the result on
/// stdout. None if the worker must end without doing anything.
pub(crate) fn claim(runs: &RunDir, verb: Verb) -> Option<ClaimedRun> {
    // Fails for a process group leader, which no hang-up of the channel reaches either.
    let _ = rustix::process::setsid();
    let (reply, run) = match runs.claim(verb) {
        Ok(Some(run)) => (STARTED.to_owned(), Some(run)),
        Ok(None) => (BUSY.to_owned(), None),
        Err(error) => (
            format!("{} can't be used: {error}", runs.path().display()),
            None,
        ),
    };
    // If the channel is already gone, no one reads this. The verb was accepted and runs.
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{reply}").and_then(|()| stdout.flush());
    run
}
