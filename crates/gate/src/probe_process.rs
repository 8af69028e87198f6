//! A read-only verb runs in a probe process, whose output this process forwards.
//!
//! A thread that hangs in the kernel (on a cluster file system whose daemon is stuck, on a disk that
//! is gone) can't be killed, and neither can its process: its end, and with it the exit code, would
//! never reach the client. This process touches nothing that can hang, so it always ends in time.

use std::fs;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::{Request, Verb};

use crate::driver::process;
use crate::file;
use crate::frame::Frame;
use crate::output::Output;
use crate::policy::Limits;
use crate::serve::last_line;

/// Timeout of a probe process without forensics or a picture. Longer than the sum of its limits.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// Number of hung probe processes from which on nothing that may hang is probed.
const HUNG_PROBES_MAX: usize = 4;
/// How long a process that has finished its output may take to exit before it is killed, and to
/// disappear after that.
const EXIT_TIMEOUT: Duration = Duration::from_millis(200);

/// Runs `command` for `request` and forwards its output; returns the exit code.
///
/// # Errors
/// The process could not be started, or ended without any output. Nothing was forwarded.
pub(crate) fn run(
    request: Request,
    mut command: Command,
    hung: &HungProbes,
    limits: &Limits,
    out: &mut dyn Output,
) -> Result<u8, String> {
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| format!("no probe process can be started: {error}"))?;
    let frames = read_frames(child.stdout.take());
    let exit = forward(&frames, timeout(request.verb, limits), out);
    if !has_ended(&mut child, matches!(exit, Ok(Some(_)))) {
        hung.add(child.id());
    }
    match exit {
        Ok(Some(exit)) => Ok(exit),
        Ok(None) => Err("the probe process ended without any output".to_owned()),
        Err(why) => {
            out.error(&why);
            if request.verb != Verb::Screenshot {
                out.line(&last_line(request, &format!("unknown ({why})"), 1));
            }
            Ok(1)
        }
    }
}

fn timeout(verb: Verb, limits: &Limits) -> Duration {
    PROBE_TIMEOUT
        + match verb {
            Verb::Forensics => limits.forensics + limits.ask,
            Verb::Screenshot => limits.ask * 2,
            _ => Duration::ZERO,
        }
}

/// Forwards all frames; returns the exit code, or none if there was no output at all.
fn forward(
    frames: &Receiver<Frame>,
    timeout: Duration,
    out: &mut dyn Output,
) -> Result<Option<u8>, String> {
    let deadline = Instant::now() + timeout;
    let mut is_first = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match frames.recv_timeout(left) {
            Ok(Frame::Line(text)) => out.line(&text),
            Ok(Frame::Error(text)) => out.error(&text),
            Ok(Frame::Picture(bytes)) => out.picture(&bytes),
            Ok(Frame::Exit(exit)) => return Ok(Some(exit)),
            Err(RecvTimeoutError::Disconnected) if is_first => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the probe process ended before its output was complete".to_owned());
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!(
                    "the probe process did not finish within {} s: something on the host hangs",
                    timeout.as_secs()
                ));
            }
        }
        is_first = false;
    }
}

/// Waits briefly for the exit of a process whose output `is_complete`, and kills it otherwise.
/// Returns whether it is gone. A process that hangs in the kernel is left behind.
fn has_ended(child: &mut Child, is_complete: bool) -> bool {
    for is_last in [false, true] {
        if is_last || !is_complete {
            let _ = child.kill();
        }
        let deadline = Instant::now() + EXIT_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    false
}

fn read_frames(stdout: Option<ChildStdout>) -> Receiver<Frame> {
    let (sender, receiver) = mpsc::sync_channel(64);
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout?);
        while let Some(frame) = Frame::read(&mut reader) {
            sender.send(frame).ok()?;
        }
        Some(())
    });
    receiver
}

/// The probe processes that hang in the kernel, one line `PID STARTED` each in a file. On a host
/// whose cluster file system is stuck, every probe would otherwise leave another one behind.
pub(crate) struct HungProbes(pub(crate) PathBuf);

impl HungProbes {
    /// Whether there are so many that nothing that may hang should be probed.
    pub(crate) fn is_full(&self) -> bool {
        self.alive().len() >= HUNG_PROBES_MAX
    }

    fn alive(&self) -> Vec<String> {
        let text = file::text(&self.0, PROBE_TIMEOUT).ok().flatten();
        let is_alive = |line: &&str| {
            let ids = line
                .split_once(' ')
                .and_then(|(pid, started)| Some((pid.parse().ok()?, started.parse().ok()?)));
            ids.is_some_and(|(pid, started)| process::is_alive(pid, started))
        };
        let text = text.unwrap_or_default();
        text.lines().filter(is_alive).map(str::to_owned).collect()
    }

    fn add(&self, pid: u32) {
        let mut lines = self.alive();
        if let Ok(Some(process)) = process::read(pid) {
            lines.push(format!("{pid} {}", process.started));
        }
        // If the file can't be written, the next probe hangs as well, and ends at its timeout.
        let _ = fs::write(&self.0, lines.join("\n"));
    }
}
