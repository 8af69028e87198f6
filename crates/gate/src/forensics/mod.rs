//! Forensics: captures the evidence that the next verb would destroy, prints a line for each piece,
//! and keeps all of it on the host.

mod bundle;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use breakglass_verbs::Verb;
use serde_json::Value;

use crate::child::{self, ChildOutput};
use crate::context::Context;
use crate::deadline::with_timeout;
use crate::driver::{Driver, Evidence, Probe, Process, process};
use crate::output::Output;
use crate::{file, png, text};

/// Number of lines of each piece that are printed if it can't be kept on the host.
const PRINTED_LINES_MAX: usize = 40;
/// Maximum number of characters of a printed line.
const PRINTED_LINE_MAX_CHARS: usize = 160;
const DISK_COUNTERS: &str = "query-blockstats";

/// Runs every probe, keeps its result and prints a line of it. Returns whether everything was kept.
///
/// Failures are reported and prevent nothing: power verbs must work on a host with a full disk.
pub(crate) fn capture(
    verb: Verb,
    before: &Evidence,
    context: &Context<'_>,
    driver: &mut dyn Driver,
    out: &mut dyn Output,
) -> bool {
    let bundle = bundle::create(context.forensics_dir, verb, context.retention);
    if let Err(error) = &bundle {
        let root = context.forensics_dir.display();
        out.error(&format!(
            "forensics can't be kept in {root}: {error}; printed instead"
        ));
    }
    let mut capture = Capture {
        deadline: Instant::now() + context.limits.forensics,
        probe_timeout: context.limits.ask,
        is_complete: bundle.is_ok(),
        bundle: bundle.ok(),
        driver,
        out,
    };
    let summary = before.lines().join("\n") + "\n";
    capture.keep("00-summary.txt", summary.as_bytes());
    capture.run(before.process(), context.limits.sample_gap);
    if let Some(dir) = &capture.bundle {
        let line = format!("forensics: in {} on the host", dir.display());
        capture.out.line(&line);
    }
    capture.is_complete
}

struct Capture<'a> {
    /// The directory for the results; none if it could not be created.
    bundle: Option<PathBuf>,
    deadline: Instant,
    probe_timeout: Duration,
    is_complete: bool,
    driver: &'a mut dyn Driver,
    out: &'a mut dyn Output,
}

impl Capture<'_> {
    /// Samples the disk counters first and last: the other probes fill the pause between.
    fn run(&mut self, process: Option<Process>, sample_gap: Duration) {
        let began = Instant::now();
        let monitor_answers = match process {
            Some(_) => ["query-status", "query-block", DISK_COUNTERS]
                .iter()
                .all(|command| self.query_monitor(command, command)),
            None => {
                self.add("query-status", Err("there is no QEMU process".to_owned()));
                false
            }
        };
        if monitor_answers {
            let timeout = self.timeout();
            let picture = timeout.and_then(|timeout| self.driver.screenshot(timeout));
            self.add("screen", picture.and_then(png::encode));
        }
        let mut probes = self.driver.probes();
        probes.extend(self.driver.host_probes(process));
        for (name, probe) in probes {
            let found = self.timeout().and_then(|timeout| run(probe, timeout));
            self.add(name, found.map(String::into_bytes));
        }
        if monitor_answers {
            let left = self.timeout().unwrap_or_default();
            thread::sleep(sample_gap.saturating_sub(began.elapsed()).min(left));
            self.query_monitor(DISK_COUNTERS, "query-blockstats-later");
        }
    }

    /// Adds the answer to `command` as `name`. Returns whether the monitor answered.
    fn query_monitor(&mut self, command: &str, name: &str) -> bool {
        let answer = self
            .timeout()
            .and_then(|timeout| self.driver.query_monitor(command, Value::Null, timeout));
        let is_answered = answer.is_ok();
        self.add(
            name,
            answer.map(|answer| format!("{answer:#}\n").into_bytes()),
        );
        is_answered
    }

    /// The timeout of the next probe.
    fn timeout(&self) -> Result<Duration, String> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err("no time was left for it".to_owned()),
            left => Ok(left.min(self.probe_timeout)),
        }
    }

    /// Prints and keeps one piece of evidence, or why it is missing.
    fn add(&mut self, name: &str, found: Result<Vec<u8>, String>) {
        let bytes = found.unwrap_or_else(|why| format!("missing: {why}\n").into_bytes());
        let (extension, text) = if png::is_png(&bytes) {
            ("png", "a picture".into())
        } else {
            ("txt", String::from_utf8_lossy(&bytes))
        };
        let first = text.lines().next().unwrap_or("(empty)");
        self.print(name, &format!("{} bytes: {first}", bytes.len()));
        if !self.keep(&format!("{name}.{extension}"), &bytes) {
            for line in text.lines().take(PRINTED_LINES_MAX) {
                self.print(name, line);
            }
        }
    }

    fn print(&mut self, name: &str, line: &str) {
        let line = text::visible(line, PRINTED_LINE_MAX_CHARS);
        self.out.line(&format!("forensics: {name}: {line}"));
    }

    fn keep(&mut self, file: &str, bytes: &[u8]) -> bool {
        let Some(dir) = &self.bundle else {
            return false;
        };
        let result = bundle::write(dir, file, bytes);
        if let Err(error) = &result {
            self.is_complete = false;
            let error = format!("forensics: {file} can't be kept: {error}");
            self.out.error(&error);
        }
        result.is_ok()
    }
}

fn run(probe: Probe, timeout: Duration) -> Result<String, String> {
    match probe {
        Probe::File(path) => file::tail(&path, timeout),
        Probe::Run(program, args) => {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let result = child::run(&program, &args, timeout);
            result
                .map(ChildOutput::combined)
                .map_err(|error| error.message)
        }
        Probe::Threads(pid) => with_timeout(timeout, "the threads", move || process::threads(pid)),
        Probe::Known(found) => found,
    }
}
