//! Small read-only diagnoses of the guest that need no model: a static table of commands, each
//! with a pure parser. Nothing from outside becomes part of a command, and only what stands between a
//! command's marks is its answer: login shells and profiles print as well.

mod parse;

use std::fmt;
use std::time::{Duration, Instant};

use breakglass_model::{Actor, EventBody, Level, VerbOutcome};

use crate::control::Station;
use crate::findings::Finding;
use crate::power::runner::host_key_changed;
use crate::power::scribe::Entry;
use crate::power::table::Ending;
use crate::ssh::exec::Exit;
use crate::ssh::pool::Urgency;
use crate::ssh::{Framed, Script, SshError};

/// Longest time that a check may take. Every command has ended on the guest before that: the three of
/// the disk are bounded by 5 s each.
const LIMIT: Duration = Duration::from_secs(20);
/// What a shell exits with where it knows no such command.
const NO_COMMAND: u32 = 127;
/// Lines of evidence where an answer can't be read.
const EVIDENCE: usize = 20;

/// A script whose `$t` bounds a command: what it ends, `timeout` ends on the guest. A busybox without it
/// runs the command as it is.
macro_rules! bounded {
    ($seconds:literal, $script:literal) => {
        Script::new(concat!(
            "t=; command -v timeout >/dev/null 2>&1 && t=\"timeout -sKILL ",
            $seconds,
            "\"; ",
            $script
        ))
    };
}

/// Local file systems first: a remote one that is dead holds up `df` for good. A busybox has no `-l`.
const DISK: Script = bounded!(
    "5",
    "$t df -Pl || $t df -P /; echo all:; $t df -P; echo code: $?; echo remote:; grep -E \
     \" (nfs|nfs4|cifs|smb3|ceph|glusterfs|lustre|afs|9p|virtiofs|fuse[.][a-z]+) \" /proc/mounts | head -n 20"
);
const MEMORY: Script = Script::new("cat /proc/meminfo /proc/pressure/memory");
const SERVICES: Script = bounded!("10", "$t systemctl --failed --plain --no-legend --no-pager");
const KERNEL: Script = bounded!(
    "10",
    "s=; [ \"$(id -u)\" = 0 ] || s=\"sudo -n\"; $t $s dmesg"
);
const LOAD: Script = Script::new("cat /proc/loadavg; nproc");

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

    /// What runs on the guest.
    const fn script(self) -> Script {
        match self {
            Check::Disk => DISK,
            Check::Memory => MEMORY,
            Check::Services => SERVICES,
            Check::Kernel => KERNEL,
            Check::Load => LOAD,
        }
    }

    /// The command in short, as a person would type it.
    const fn typed(self) -> &'static str {
        match self {
            Check::Disk => "df -P",
            Check::Memory => MEMORY.as_str(),
            Check::Services => "systemctl --failed",
            Check::Kernel => "dmesg",
            Check::Load => LOAD.as_str(),
        }
    }

    /// What the answer says; none where it says nothing. `df` and `cat` fail for one file and tell of
    /// the others; of the rest, what failed is no answer.
    fn parse(self, answer: &Framed) -> Option<Report> {
        let lines = &answer.stdout;
        let done = answer.code() == Some(0);
        match self {
            Check::Disk => parse::disk(lines),
            Check::Memory => parse::memory(lines),
            Check::Load => parse::load(lines),
            Check::Services if has_no_systemd(answer) => Some(Report {
                level: Level::Warning,
                summary: "The guest has no systemd, so its services can't be asked for this way."
                    .to_owned(),
                evidence: everything(answer),
                finding: None,
            }),
            Check::Services => done.then(|| parse::services(lines)),
            Check::Kernel => done.then(|| parse::kernel(lines)),
        }
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
    let asking = station
        .guest
        .exec_framed(check.script(), LIMIT, Urgency::Now);
    let ended = asking.await;
    let (outcome, report) = match &ended {
        Ok((exit, answer)) => judge(check, *exit, answer),
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

fn judge(check: Check, exit: Exit, answer: &Framed) -> (VerbOutcome, Report) {
    let Some(code) = answer.code() else {
        let exit = match exit {
            Exit::Code(code) => Some(code),
            Exit::Abnormal => None,
        };
        let instead = answer.instead(exit);
        return failed(format!("{check} was not told: {instead}."), answer);
    };
    let Some(report) = check.parse(answer) else {
        return failed(no_answer(check, code, answer), answer);
    };
    let outcome = if report.level == Level::Error {
        VerbOutcome::Failed
    } else {
        VerbOutcome::Done
    };
    (outcome, report)
}

fn no_answer(check: Check, code: u32, answer: &Framed) -> String {
    let typed = check.typed();
    match (code, answer.stderr.back()) {
        (0, _) => format!("The guest's answer to {typed:?} can't be read."),
        (_, Some(why)) => format!("{typed:?} failed on the guest with code {code}: {why}."),
        (_, None) => format!("{typed:?} failed on the guest with code {code} and said nothing."),
    }
}

fn failed(summary: String, answer: &Framed) -> (VerbOutcome, Report) {
    let report = Report {
        level: Level::Error,
        summary,
        evidence: everything(answer),
        finding: None,
    };
    (VerbOutcome::Failed, report)
}

/// The last lines of all that was printed.
fn everything(answer: &Framed) -> Vec<String> {
    let skip = answer.stdout.len().saturating_sub(EVIDENCE);
    let answered = answer.stdout.iter().skip(skip).chain(&answer.stderr);
    answered.chain(&answer.noise).cloned().collect()
}

/// Another init, or none.
fn has_no_systemd(answer: &Framed) -> bool {
    let said = |words| answer.stderr.iter().any(|line| line.contains(words));
    answer.code() == Some(NO_COMMAND)
        || answer.code() != Some(0) && said("not been booted with systemd")
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
        finding: station.vitals.finding(station.since_change()),
    }
}
