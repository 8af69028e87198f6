//! Small read-only diagnoses of the guest that need no model: a static table of commands, each
//! with a pure parser. Nothing from outside becomes part of a command.

mod collect;
mod parse;

use std::fmt;
use std::time::{Duration, Instant};

use breakglass_journal::{Actor, EventBody, Level, VerbOutcome};
use jiff::Timestamp;

use crate::control::Station;
use crate::findings::{self, Finding};
use crate::power::runner::host_key_changed;
use crate::power::scribe::Entry;
use crate::power::table::Ending;
use crate::ssh::SshError;
use crate::ssh::exec::{Exit, Order};
use crate::ssh::pool::Urgency;
use collect::Collected;

/// Longest time that a check may take.
const LIMIT: Duration = Duration::from_secs(20);

/// One diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    /// How full the file systems are.
    Disk,
    /// How much memory is left.
    Memory,
    /// Which units have failed.
    Services,
    /// What the kernel complains about.
    Kernel,
    /// How busy the processors are.
    Load,
}

impl Check {
    /// Every check, in the order in which the page lists them.
    pub const ALL: [Check; 5] = [
        Check::Disk,
        Check::Memory,
        Check::Services,
        Check::Kernel,
        Check::Load,
    ];

    /// The check whose name is exactly `word`.
    #[must_use]
    pub fn named(word: &str) -> Option<Check> {
        Check::ALL.into_iter().find(|check| check.as_str() == word)
    }

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Check::Disk => "disk",
            Check::Memory => "memory",
            Check::Services => "services",
            Check::Kernel => "kernel",
            Check::Load => "load",
        }
    }

    /// The command, for a POSIX shell on the guest.
    const fn command(self) -> &'static str {
        match self {
            Check::Disk => "df -P",
            Check::Memory => "cat /proc/meminfo /proc/pressure/memory",
            Check::Services => "systemctl --failed --plain --no-legend --no-pager",
            Check::Kernel => "sudo -n dmesg",
            Check::Load => "cat /proc/loadavg; nproc",
        }
    }

    fn parse(self, collected: &Collected) -> Report {
        let lines = &collected.stdout;
        let report = match self {
            Check::Disk => parse::disk(lines),
            Check::Memory => parse::memory(lines),
            Check::Services => parse::services(lines),
            Check::Kernel => parse::kernel(lines),
            Check::Load => parse::load(lines),
        };
        report.unwrap_or_else(|| Report {
            level: Level::Warning,
            summary: format!("The guest's answer to {:?} can't be read.", self.command()),
            evidence: collected.everything(),
            finding: None,
        })
    }

    /// What it looks at, for the person about to press it.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Check::Disk => "How full the guest's file systems are.",
            Check::Memory => "How much memory the guest has left, and whether it waits for more.",
            Check::Services => "Which of the guest's services have failed.",
            Check::Kernel => "Out of memory, hung tasks and I/O errors in the guest's kernel log.",
            Check::Load => "How busy the guest's processors are.",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    level: Level,
    summary: String,
    evidence: Vec<String>,
    finding: Option<Finding>,
}

/// Runs `check` on the guest; gives how it ended, and the events that tell of it.
pub(crate) async fn run(check: Check, station: &Station) -> (Ending, Vec<Entry>) {
    let began = Instant::now();
    let mut collected = Collected::default();
    let order = Order {
        command: check.command(),
        deadline: LIMIT,
        urgency: Urgency::Now,
    };
    let mut sink = |stream, line: &str| collected.take(stream, line);
    let ended = station.guest.exec(order, &mut sink).await;
    let (outcome, report) = match &ended {
        Ok(exit) => judge(check, *exit, &collected),
        Err(error) => (VerbOutcome::Unreachable, unreachable(error, station)),
    };
    let ending = Ending {
        outcome,
        verdict: None,
        message: report.summary.clone(),
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    let finished = EventBody::CheckFinished {
        check: check.as_str().to_owned(),
        level: report.level,
        summary: report.summary,
        evidence: report.evidence.join("\n"),
    };
    let changed_key = ended.err().as_ref().and_then(host_key_changed);
    let bodies = changed_key.into_iter().chain([finished]).chain(
        report
            .finding
            .map(|finding| finding.body(Some(check.as_str()))),
    );
    (ending, bodies.map(|body| (Actor::System, body)).collect())
}

fn judge(check: Check, exit: Exit, collected: &Collected) -> (VerbOutcome, Report) {
    if exit != Exit::Code(0) && collected.stdout.is_empty() {
        let why = collected
            .stderr
            .back()
            .map_or("it said nothing", String::as_str);
        let report = Report {
            level: Level::Error,
            summary: format!("{:?} failed on the guest: {why}.", check.command()),
            evidence: collected.everything(),
            finding: None,
        };
        return (VerbOutcome::Failed, report);
    }
    let report = check.parse(collected);
    let outcome = if report.level == Level::Error {
        VerbOutcome::Failed
    } else {
        VerbOutcome::Done
    };
    (outcome, report)
}

/// A check that did not reach the guest is itself evidence.
fn unreachable(error: &SshError, station: &Station) -> Report {
    let vitals = station.vitals.read();
    Report {
        level: Level::Error,
        summary: format!("{error}."),
        evidence: vec![
            format!("guest SSH: {}", vitals.ssh.text),
            format!("VM: {}", vitals.vm.text),
        ],
        finding: findings::of_vitals(&vitals, station.since_change(), Timestamp::now()),
    }
}
