//! A verb that only looks is done by a process of its own, and told by this one.
//!
//! What sits in the kernel (on a cluster file system whose daemon is stuck, on a disk that is gone)
//! can't be killed, and neither can the process whose thread it is: its end, and with that the exit
//! code, would never reach the client. This process touches nothing that hangs, and ends on time.
//!
//! The other one marks each line with what it is: `|` output, `!` error, `P` a picture with its
//! length and then its bytes, `=` the exit code, which is the last.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::{Request, Verb};

use crate::driver::proc;
use crate::file;
use crate::output::Output;
use crate::policy::Limits;
use crate::serve::last_line;

/// Longest line, and largest picture, that are passed on.
const LARGEST: u64 = 8 << 20;
/// Longest time of a look: more than all its own limits together.
const LOOK: Duration = Duration::from_secs(20);
/// How many looks may sit in the kernel at once.
const MOST: usize = 4;
/// How long a process that has told all may take to end before it is killed, and then to be gone.
const END: Duration = Duration::from_millis(200);

/// Something that the other process said.
enum Said {
    Line(String),
    Error(String),
    Picture(Vec<u8>),
    Exit(u8),
}

/// Has `looker` do what `request` says, and tells all that it says; the exit code.
///
/// # Errors
/// A sentence: it can't be started, or ended before it had said a word. Nothing was told then.
pub(crate) fn relay(
    request: Request,
    mut looker: Command,
    stuck: &Stuck,
    limits: &Limits,
    out: &mut dyn Output,
) -> Result<u8, String> {
    let spawned = looker.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut looker = spawned.map_err(|error| format!("no process can be started: {error}"))?;
    let stdout = looker.stdout.take();
    let limit = limit(request.verb, limits);
    let exit = tell(&listen(stdout), Instant::now() + limit, out);
    if !has_ended(&mut looker, matches!(exit, Ok(Some(_)))) {
        stuck.add(looker.id());
    }
    match exit {
        Ok(Some(exit)) => Ok(exit),
        Ok(None) => Err("the process that looks ended before it said a word".to_owned()),
        Err(why) => {
            out.error(&why);
            if request.verb != Verb::Screenshot {
                out.line(&last_line(request, &format!("unknown ({why})"), 1));
            }
            Ok(1)
        }
    }
}

fn limit(verb: Verb, limits: &Limits) -> Duration {
    LOOK + match verb {
        Verb::Forensics => limits.forensics + limits.ask,
        Verb::Screenshot => limits.ask * 2,
        _ => Duration::ZERO,
    }
}

/// Passes on what is said; the exit code, or none where nothing was said at all.
fn tell(
    said: &Receiver<Said>,
    deadline: Instant,
    out: &mut dyn Output,
) -> Result<Option<u8>, String> {
    let began = Instant::now();
    let mut is_first = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match said.recv_timeout(left) {
            Ok(Said::Line(text)) => out.line(&text),
            Ok(Said::Error(text)) => out.error(&text),
            Ok(Said::Picture(bytes)) => out.picture(&bytes),
            Ok(Said::Exit(exit)) => return Ok(Some(exit)),
            Err(RecvTimeoutError::Disconnected) if is_first => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the process that looks ended before it had told all".to_owned());
            }
            Err(RecvTimeoutError::Timeout) => {
                let took = began.elapsed().as_secs();
                return Err(format!(
                    "the look did not end within {took} s: something on the host hangs"
                ));
            }
        }
        is_first = false;
    }
}

/// Waits a moment for the end of a process that has told all, and kills it otherwise; whether it is
/// gone. One that sits in the kernel is left behind.
fn has_ended(looker: &mut Child, has_told: bool) -> bool {
    for is_killed in [false, true] {
        if is_killed || !has_told {
            let _ = looker.kill();
        }
        let deadline = Instant::now() + END;
        while Instant::now() < deadline {
            if !matches!(looker.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    false
}

/// The looks that still sit in the kernel, one line `PID STARTED` each in a file. On a host whose
/// cluster file system is stuck each look would leave one more, for as long as somebody looks.
pub(crate) struct Stuck(pub(crate) PathBuf);

impl Stuck {
    /// Whether so many are left that nothing is asked any more that may hang.
    pub(crate) fn is_full(&self) -> bool {
        self.left().len() >= MOST
    }

    fn left(&self) -> Vec<String> {
        let text = file::text(&self.0, LOOK).ok().flatten();
        let is_there = |line: &&str| {
            let mut words = line.split(' ');
            let pid = words.next().and_then(|word| word.parse().ok());
            let now = pid.and_then(|pid| proc::look(pid).ok().flatten());
            now.is_some_and(|now| Some(now.started.to_string().as_str()) == words.next())
        };
        let text = text.unwrap_or_default();
        text.lines().filter(is_there).map(str::to_owned).collect()
    }

    fn add(&self, pid: u32) {
        let mut left = self.left();
        if let Ok(Some(now)) = proc::look(pid) {
            left.push(format!("{pid} {}", now.started));
        }
        // Where it can't be kept, the next look asks once more.
        let _ = fs::write(&self.0, left.join("\n"));
    }
}

fn listen(stdout: Option<ChildStdout>) -> Receiver<Said> {
    let (tell, told) = mpsc::sync_channel(64);
    thread::spawn(move || stdout.map(|stdout| pass_on(BufReader::new(stdout), &tell)));
    told
}

fn pass_on(mut lines: impl BufRead, tell: &SyncSender<Said>) {
    while let Some(said) = read(&mut lines) {
        if tell.send(said).is_err() {
            break;
        }
    }
}

/// The next thing that is said; none at the end, and where the words make no sense.
fn read(lines: &mut impl BufRead) -> Option<Said> {
    let mut line = Vec::new();
    lines.take(LARGEST).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8_lossy(line.strip_suffix(b"\n")?).into_owned();
    match line.split_at_checked(1)? {
        ("|", text) => Some(Said::Line(text.to_owned())),
        ("!", text) => Some(Said::Error(text.to_owned())),
        ("=", exit) => exit.parse().ok().map(Said::Exit),
        ("P", length) => {
            let length = length.parse().ok().filter(|length| *length <= LARGEST)?;
            let mut bytes = Vec::new();
            lines.take(length).read_to_end(&mut bytes).ok()?;
            Some(Said::Picture(bytes))
        }
        _ => None,
    }
}

/// The other side: marks what it is given.
pub(crate) struct Marked<W: Write>(pub(crate) W);

impl<W: Write> Marked<W> {
    /// The exit code, which is the last.
    pub(crate) fn end(&mut self, exit: u8) {
        self.say("=", &exit.to_string());
    }

    fn say(&mut self, mark: &str, text: &str) {
        let text = text.replace('\n', " ");
        let _ = self.0.write_all(format!("{mark}{text}\n").as_bytes());
        let _ = self.0.flush();
    }
}

impl<W: Write> Output for Marked<W> {
    fn line(&mut self, text: &str) {
        self.say("|", text);
    }

    fn error(&mut self, text: &str) {
        self.say("!", text);
    }

    fn picture(&mut self, bytes: &[u8]) {
        self.say("P", &bytes.len().to_string());
        let _ = self.0.write_all(bytes).and_then(|()| self.0.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_reads_back_and_nonsense_ends_it() {
        let mut said = Marked(Vec::new());
        said.line("qemu: no process\n=0");
        said.error("");
        said.picture(b"\x89PNG\n=0\n");
        said.end(3);
        let mut lines = said.0.as_slice();
        let mut next = || read(&mut lines);
        assert!(matches!(next(), Some(Said::Line(text)) if text == "qemu: no process =0"));
        assert!(matches!(next(), Some(Said::Error(text)) if text.is_empty()));
        assert!(matches!(next(), Some(Said::Picture(bytes)) if bytes == b"\x89PNG\n=0\n"));
        assert!(matches!(next(), Some(Said::Exit(3))));
        assert!(next().is_none());
        for nonsense in [
            "",
            "\n",
            "x\n",
            "=\n",
            "=256\n",
            "P-1\n",
            "P99999999\n",
            "|half",
        ] {
            assert!(read(&mut nonsense.as_bytes()).is_none(), "{nonsense:?}");
        }
    }
}
