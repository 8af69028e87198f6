//! Forensics: what the next verb would destroy, kept on the host first, in a directory for each
//! capture; streamed as it comes, with what was seen of the guest before all else.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use breakglass_verbs::Verb;
use serde_json::Value;

use crate::driver::{Driver, Evidence, Probe, Process, proc};
use crate::output::Output;
use crate::policy::Keep;
use crate::serve::Context;
use crate::{child, file, png, text};

/// Lines of each probe that are streamed when they can't be kept on the host.
const STREAMED: usize = 40;
/// Characters of a streamed line.
const LINE: usize = 160;
const COUNTERS: &str = "query-blockstats";

/// What is asked of every host and QEMU process, in this order: a file alone, or a program with its
/// arguments. The last one lets QEMU stand still while it is looked at.
const PROBES: [(&str, &[&str]); 8] = [
    ("host-load", &["/proc/loadavg"]),
    ("host-memory", &["/proc/meminfo"]),
    ("host-pressure-cpu", &["/proc/pressure/cpu"]),
    ("host-pressure-io", &["/proc/pressure/io"]),
    ("host-pressure-memory", &["/proc/pressure/memory"]),
    (
        "host-kernel-log",
        &["/usr/bin/journalctl", "-kn200", "--no-pager", "-oshort-iso"],
    ),
    ("qemu-process", &["/proc/PID/status"]),
    (
        "qemu-backtrace",
        &[
            "/usr/bin/gdb",
            "-nx",
            "-batch",
            "-p",
            "PID",
            "-ex",
            "thread apply all bt 30",
        ],
    ),
];

/// The probes of the host, and of `process` where there is one.
pub(crate) fn of_host(process: Option<Process>) -> Vec<(&'static str, Probe)> {
    let pid = process.map(|process| process.pid);
    let named = |word: &&str| word.replace("PID", &pid.unwrap_or_default().to_string());
    let wanted = PROBES
        .iter()
        .filter(|(name, _)| pid.is_some() || name.starts_with("host"));
    let probe = |(name, words): &(&'static str, &[&str])| {
        let mut words = words.iter().map(named);
        let first = PathBuf::from(words.next().unwrap_or_default());
        match words.collect::<Vec<_>>() {
            words if words.is_empty() => (*name, Probe::File(first)),
            words => (*name, Probe::Run(first, words)),
        }
    };
    let threads = pid.map(|pid| ("qemu-threads", Probe::Threads(pid)));
    threads.into_iter().chain(wanted.map(probe)).collect()
}

/// Takes every probe, keeps it and streams a line of it. Returns whether all that was found is kept.
///
/// What fails is told and blocks nothing: the operator's power must work on a host with a full disk
/// too.
pub(crate) fn capture(
    verb: Verb,
    before: &Evidence,
    context: &Context<'_>,
    driver: &mut dyn Driver,
    out: &mut dyn Output,
) -> bool {
    let root = context.forensics_dir;
    let bundle = create(root, verb, context.keep);
    if let Err(error) = &bundle {
        let root = root.display();
        out.error(&format!(
            "forensics can't be kept in {root}: {error}; streamed instead"
        ));
    }
    let (ends, kept) = (Instant::now() + context.limits.forensics, bundle.is_ok());
    let (bundle, ask) = (bundle.ok(), context.limits.ask);
    let mut capture = Capture {
        bundle,
        ends,
        ask,
        kept,
        out,
    };
    let summary = before.lines().join("\n") + "\n";
    capture.store("00-summary.txt", summary.as_bytes());
    capture.all(before.process(), driver, context.limits.sample_gap);
    if let Some(dir) = &capture.bundle {
        capture
            .out
            .line(&format!("forensics: in {} on the host", dir.display()));
    }
    capture.kept
}

struct Capture<'a> {
    bundle: Option<PathBuf>,
    ends: Instant,
    ask: Duration,
    kept: bool,
    out: &'a mut dyn Output,
}

impl Capture<'_> {
    /// The disk counters come first and last: the others fill the pause.
    fn all(&mut self, process: Option<Process>, driver: &mut dyn Driver, gap: Duration) {
        let began = Instant::now();
        let mut answers = process.is_some();
        if !answers {
            self.take("query-status", Err("there is no QEMU process".to_owned()));
        }
        for command in ["query-status", "query-block", COUNTERS] {
            if answers {
                answers = self.monitor(command, command, driver);
            }
        }
        if answers {
            let picture = self
                .time()
                .and_then(|time| driver.screen(time))
                .and_then(png::from);
            self.take("screen", picture);
        }
        for (name, probe) in driver
            .probes()
            .into_iter()
            .chain(driver.probes_of_host(process))
        {
            let found = self.time().and_then(|time| look(probe, time));
            self.take(name, found.map(String::into_bytes));
        }
        if answers {
            let left = self.time().unwrap_or_default();
            thread::sleep(gap.saturating_sub(began.elapsed()).min(left));
            self.monitor(COUNTERS, "query-blockstats-later", driver);
        }
    }

    fn monitor(&mut self, command: &str, name: &str, driver: &mut dyn Driver) -> bool {
        let asked = self
            .time()
            .and_then(|time| driver.ask(command, Value::Null, time));
        let found = asked.map(|answer| format!("{answer:#}\n").into_bytes());
        let answers = found.is_ok();
        self.take(name, found);
        answers
    }

    /// How long the next probe may take.
    fn time(&self) -> Result<Duration, String> {
        match self.ends.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err("no time was left for it".to_owned()),
            left => Ok(left.min(self.ask)),
        }
    }

    /// Keeps and tells one piece of evidence, or why it is missing.
    fn take(&mut self, name: &str, found: Result<Vec<u8>, String>) {
        let bytes = found.unwrap_or_else(|why| format!("missing: {why}\n").into_bytes());
        let (kind, words) = match png::is(&bytes) {
            true => ("png", "a picture".into()),
            false => ("txt", String::from_utf8_lossy(&bytes)),
        };
        let first = text::visible(words.lines().next().unwrap_or("(empty)"), LINE);
        self.out.line(&format!(
            "forensics: {name}: {} bytes: {first}",
            bytes.len()
        ));
        if !self.store(&format!("{name}.{kind}"), &bytes) {
            for line in words.lines().take(STREAMED) {
                self.out
                    .line(&format!("forensics: {name}: {}", text::visible(line, LINE)));
            }
        }
    }

    fn store(&mut self, file: &str, bytes: &[u8]) -> bool {
        let Some(dir) = &self.bundle else {
            return false;
        };
        let mut options = OpenOptions::new();
        let opened = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(dir.join(file));
        let stored = opened.and_then(|mut file| file.write_all(bytes));
        if let Err(error) = &stored {
            self.kept = false;
            self.out
                .error(&format!("forensics: {file} can't be kept: {error}"));
        }
        stored.is_ok()
    }
}

fn look(probe: Probe, limit: Duration) -> Result<String, String> {
    match probe {
        Probe::File(path) => file::end(&path, limit),
        Probe::Run(program, words) => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let said = child::run(&program, &words, limit);
            said.map(child::Said::all).map_err(|broken| broken.words)
        }
        Probe::Threads(pid) => child::within(limit, "the threads", move || proc::threads(pid)),
        Probe::Known(found) => found,
    }
}

/// A new directory `<utc>-<verb>` for its owner's eyes only; the oldest ones make room.
fn create(root: &Path, verb: Verb, keep: &Keep) -> io::Result<PathBuf> {
    let mut private = DirBuilder::new();
    private.mode(0o700).recursive(true).create(root)?;
    prune(root, keep)?;
    let name = format!(
        "{}-{verb}",
        text::utc(SystemTime::now()).replace(['-', ':'], "")
    );
    let mut names = (1..10).map(|n| match n {
        1 => root.join(&name),
        n => root.join(format!("{name}-{n}")),
    });
    private.recursive(false);
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    while let (Err(_), Some(dir)) = (&result, names.next()) {
        result = private.create(&dir).map(|()| dir);
    }
    result
}

/// Removes the oldest bundles until one more fits.
fn prune(root: &Path, keep: &Keep) -> io::Result<()> {
    let mut bundles: Vec<PathBuf> = fs::read_dir(root)?
        .flatten()
        .filter(|entry| is_bundle(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    // The names begin with the time.
    bundles.sort_unstable();
    let mut room = (1, 0);
    for bundle in bundles.iter().rev() {
        let files = fs::read_dir(bundle)?
            .flatten()
            .filter_map(|file| file.metadata().ok());
        room = (
            room.0 + 1,
            room.1 + files.map(|file| file.len()).sum::<u64>(),
        );
        if room.0 > keep.bundles || room.1 > keep.mib << 20 {
            fs::remove_dir_all(bundle)?;
        }
    }
    Ok(())
}

/// Whether `name` is one that [`create`] gives, `TIMEZ-VERB`: nothing else in there is ever removed.
fn is_bundle(name: &str) -> bool {
    let (time, verb) = name.split_once("Z-").unwrap_or_default();
    time.len() == 15
        && Verb::ALL
            .iter()
            .any(|known| verb.starts_with(known.as_str()))
}
