//! Small read-only diagnoses of the guest that need no model: a fixed table of commands, each
//! with a pure parser. Nothing from outside becomes part of a command, and only the output between a
//! command's markers counts: login shells and profiles print as well.

mod disk;
mod parse;
mod report;

use std::time::Duration;

use breakglass_model::{Diagnosis, Level, VerbOutcome};

use crate::handle::TargetHandle;
use crate::ssh::warm::Priority;
use crate::ssh::{Framed, Script, SshError};

pub(crate) use report::Report;

/// Timeout of a diagnosis. Every command has ended on the guest before that: each of the three for the disk
/// takes at most 5 s.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(20);
/// A shell's exit code for an unknown command.
const UNKNOWN_COMMAND_EXIT_CODE: u32 = 127;
/// Maximum number of lines quoted from output that was not understood.
const RAW_EVIDENCE_MAX_LINES: usize = 20;

/// A script in which `$t` limits a command's time: `timeout` kills it on the guest. A busybox without
/// `timeout` runs the command without a limit.
macro_rules! with_timeout {
    ($seconds:literal, $script:literal) => {
        Script::new(concat!(
            "t=; command -v timeout >/dev/null 2>&1 && t=\"timeout -sKILL ",
            $seconds,
            "\"; ",
            $script
        ))
    };
}

/// Local file systems first: a remote one that does not answer blocks `df` for ever. A busybox has no `-l`.
const DISK: Script = with_timeout!(
    "5",
    "$t df -Pl || $t df -P /; echo all:; $t df -P; echo code: $?; echo remote:; grep -E \
     \" (nfs|nfs4|cifs|smb3|ceph|glusterfs|lustre|afs|9p|virtiofs|fuse[.][a-z]+) \" /proc/mounts | head -n 20"
);
const MEMORY: Script = Script::new("cat /proc/meminfo /proc/pressure/memory");
const SERVICES: Script =
    with_timeout!("10", "$t systemctl --failed --plain --no-legend --no-pager");
const KERNEL: Script = with_timeout!(
    "10",
    "s=; [ \"$(id -u)\" = 0 ] || s=\"sudo -n\"; $t $s dmesg"
);
const LOAD: Script = Script::new("cat /proc/loadavg; nproc");

/// The script that runs on the guest.
const fn script(diagnosis: Diagnosis) -> Script {
    match diagnosis {
        Diagnosis::Disk => DISK,
        Diagnosis::Memory => MEMORY,
        Diagnosis::Services => SERVICES,
        Diagnosis::Kernel => KERNEL,
        Diagnosis::Load => LOAD,
    }
}

/// The command in short, as a person would type it.
const fn short_command(diagnosis: Diagnosis) -> &'static str {
    match diagnosis {
        Diagnosis::Disk => "df -P",
        Diagnosis::Memory => MEMORY.as_str(),
        Diagnosis::Services => "systemctl --failed",
        Diagnosis::Kernel => "dmesg",
        Diagnosis::Load => LOAD.as_str(),
    }
}

/// Runs `diagnosis` on the guest. The error is the reason if the guest could not be reached.
pub(crate) async fn run(diagnosis: Diagnosis, target: &TargetHandle) -> (Report, Option<SshError>) {
    let script = script(diagnosis);
    let running = target
        .guest
        .exec_framed(script, DIAGNOSIS_TIMEOUT, Priority::Interactive);
    match running.await {
        Ok((exit, output)) => (report(diagnosis, exit, &output), None),
        Err(error) => (unreachable(&error, target), Some(error)),
    }
}

fn report(diagnosis: Diagnosis, exit: Option<u32>, output: &Framed) -> Report {
    let Some(code) = output.code() else {
        let reason = output.failure_reason(exit);
        return failed(format!("{diagnosis} has no result: {reason}."), output);
    };
    parse(diagnosis, output).unwrap_or_else(|| {
        let command = short_command(diagnosis);
        let summary = match (code, output.stderr().back()) {
            (0, _) => format!("The guest's output of {command:?} can't be parsed."),
            (_, Some(line)) => format!("{command:?} failed on the guest with code {code}: {line}."),
            (_, None) => {
                format!("{command:?} failed on the guest with code {code} and printed nothing.")
            }
        };
        failed(summary, output)
    })
}

/// Parses the output; `None` if it has no result. `df` and `cat` can fail for one file and still report the
/// others; the output of the other commands counts only if they succeeded.
fn parse(diagnosis: Diagnosis, output: &Framed) -> Option<Report> {
    let lines = output.stdout();
    let succeeded = output.code() == Some(0);
    match diagnosis {
        Diagnosis::Disk => disk::disk(lines),
        Diagnosis::Memory => parse::memory(lines),
        Diagnosis::Load => parse::load(lines),
        Diagnosis::Services if has_no_systemd(output) => Some(Report::new(
            Level::Warning,
            "The guest has no systemd, so this diagnosis can't list its services.".to_owned(),
            raw_evidence(output),
        )),
        Diagnosis::Services => succeeded.then(|| parse::services(lines)),
        Diagnosis::Kernel => succeeded.then(|| parse::kernel(lines)),
    }
}

fn failed(summary: String, output: &Framed) -> Report {
    Report::new(Level::Error, summary, raw_evidence(output))
}

/// The last lines of the whole output.
fn raw_evidence(output: &Framed) -> Vec<String> {
    let stdout = output.stdout();
    let skipped = stdout.len().saturating_sub(RAW_EVIDENCE_MAX_LINES);
    let lines = stdout.iter().skip(skipped).chain(output.stderr());
    lines.chain(output.noise()).cloned().collect()
}

/// Whether the guest has another init system.
fn has_no_systemd(output: &Framed) -> bool {
    let mut stderr = output.stderr().iter();
    output.code() == Some(UNKNOWN_COMMAND_EXIT_CODE)
        || output.code() != Some(0)
            && stderr.any(|line| line.contains("not been booted with systemd"))
}

/// The report of a diagnosis that did not reach the guest, with the vital signs as evidence.
fn unreachable(error: &SshError, target: &TargetHandle) -> Report {
    let vitals = target.vitals.read();
    let evidence = vec![
        format!("guest SSH: {}", vitals.ssh.text),
        format!("VM: {}", vitals.vm.text),
    ];
    Report {
        outcome: VerbOutcome::Unreachable,
        finding: target.vitals.finding(target.since_change()),
        ..Report::new(Level::Error, format!("{error}."), evidence)
    }
}
