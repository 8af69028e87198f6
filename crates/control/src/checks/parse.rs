//! From a command's lines to a report. `None`: the lines are not what was expected.

use std::collections::{HashSet, VecDeque};

use breakglass_model::Level;

use super::Report;
use crate::findings::{Finding, Signature};

type Lines = VecDeque<String>;

/// File systems that are full by nature, or hold nothing.
const NOT_DISKS: [&str; 6] = ["tmpfs", "devtmpfs", "udev", "efivarfs", "overlay", "none"];
/// What a shell exits with where SIGKILL ended the command, or something worse.
const KILLED: u32 = 137;
/// Lines of evidence that a report carries.
const EVIDENCE: usize = 12;

/// A file system in `df -P`.
struct Row<'a> {
    device: &'a str,
    free: u64,
    used: u64,
    mount: String,
}

impl Row<'_> {
    fn read(line: &str) -> Option<Row<'_>> {
        let mut fields = line.split_whitespace();
        let device = fields.next()?;
        let free = fields.nth(2)?.parse().ok()?;
        let used = fields.next()?.strip_suffix('%')?.parse().ok()?;
        let mount = fields.collect::<Vec<_>>().join(" ");
        Some(Row {
            device,
            free,
            used,
            mount,
        })
        .filter(|row| row.mount.starts_with('/'))
    }

    fn is_disk(&self) -> bool {
        !NOT_DISKS.contains(&self.device) && !self.device.starts_with("/dev/loop")
    }
}

/// The lines of `df`, a device on a line of its own put before what belongs to it.
fn joined(lines: &Lines) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for line in lines {
        match whole.last_mut() {
            Some(last) if last.split_whitespace().count() == 1 && line.starts_with(' ') => {
                last.push_str(line);
            }
            _ => whole.push(line.clone()),
        }
    }
    whole
}

/// What of the remote file systems, where a `df` of all was ended since it did not end.
fn silent(lines: &Lines) -> Option<String> {
    let code = lines.iter().find_map(|line| line.strip_prefix("code: "))?;
    code.parse().ok().filter(|code: &u32| *code >= KILLED)?;
    let remote = lines.iter().skip_while(|line| *line != "remote:").skip(1);
    let names = remote.filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (device, mount) = (fields.next()?, fields.next()?);
        Some(format!("{mount} ({device})"))
    });
    let names: Vec<String> = names.collect();
    Some(match names.as_slice() {
        [] => "A file system".to_owned(),
        [one] => one.clone(),
        many => format!("One of {}", many.join(", ")),
    })
}

/// `df -P` of the local file systems, then of all with its code, then the remote ones by the kernel's
/// list.
pub(super) fn disk(lines: &Lines) -> Option<Report> {
    let rows = joined(lines);
    let mut seen = HashSet::new();
    let rows: Vec<(Row<'_>, &String)> = rows
        .iter()
        .filter_map(|line| Some((Row::read(line)?, line)))
        .filter(|(row, _)| row.is_disk() && seen.insert(row.mount.clone()))
        .collect();
    let silent = silent(lines);
    let fullest = rows
        .iter()
        .map(|(row, _)| row)
        .max_by_key(|row| (row.used, std::cmp::Reverse(row.free)));
    let (level, summary) = match fullest {
        Some(row) => fullness(row),
        None if silent.is_some() => (Level::Info, String::new()),
        None => return None,
    };
    let evidence: Vec<String> = rows.iter().map(|(_, line)| (*line).clone()).collect();
    let evidence: Vec<String> = evidence.into_iter().take(EVIDENCE).collect();
    let full = fullest
        .filter(|_| level == Level::Error)
        .map(|row| Finding {
            signature: Signature::DiskFull,
            summary: format!(
                "{} is full: free space there before anything is restarted; no verb cures it.",
                row.mount
            ),
            evidence: evidence.clone(),
            recommend: None,
        });
    let Some(silent) = silent else {
        return Some(Report {
            level,
            summary,
            evidence,
            finding: full,
        });
    };
    let dead = format!(
        "{silent} does not answer within 5 s: whatever touches it hangs. Look at the machine that \
         serves it, and at the network between; no verb cures it."
    );
    Some(Report {
        level: Level::Error,
        summary: format!("{summary} {dead}").trim().to_owned(),
        evidence: evidence.clone(),
        finding: full.or(Some(Finding {
            signature: Signature::RemoteSilent,
            summary: dead,
            evidence,
            recommend: None,
        })),
    })
}

fn fullness(row: &Row<'_>) -> (Level, String) {
    let Row {
        used, free, mount, ..
    } = row;
    let level = match (used, free) {
        (98.., _) | (_, 0) => Level::Error,
        (90.., _) => Level::Warning,
        _ => Level::Info,
    };
    let summary = format!("{mount} is {used} % full, {} MiB free.", free / 1024);
    (level, summary)
}

/// `/proc/meminfo`, and `/proc/pressure/memory` where the kernel has it.
pub(super) fn memory(lines: &Lines) -> Option<Report> {
    let kib = |name: &str| -> Option<u64> {
        let rest = lines
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let (total, free) = (kib("MemTotal")?, kib("MemAvailable")?);
    let percent = free * 100 / total.max(1);
    let waits = lines.iter().find_map(|line| {
        let rest = line.strip_prefix("some avg10=")?;
        rest.split_whitespace().next()?.parse::<f32>().ok()
    });
    let level = match (percent, waits) {
        (0..=2, _) => Level::Error,
        (_, Some(waits)) if waits >= 40.0 => Level::Error,
        (3..=9, _) => Level::Warning,
        (_, Some(waits)) if waits >= 10.0 => Level::Warning,
        _ => Level::Info,
    };
    let pressure = waits.map_or(String::new(), |waits| {
        format!(" Tasks wait for memory {waits} % of the time.")
    });
    let telling = [
        "MemTotal",
        "MemAvailable",
        "SwapTotal",
        "SwapFree",
        "some",
        "full",
    ];
    let evidence = lines
        .iter()
        .filter(|line| telling.iter().any(|word| line.starts_with(word)));
    Some(Report {
        level,
        summary: format!(
            "{} of {} MiB of memory are free ({percent} %).{pressure}",
            free / 1024,
            total / 1024
        ),
        evidence: evidence.cloned().collect(),
        finding: None,
    })
}

/// `systemctl --failed --plain --no-legend`; no line is good news, and one that is no row of its table
/// is none.
pub(super) fn services(lines: &Lines) -> Report {
    let rows: Vec<(&str, &String)> = lines
        .iter()
        .filter_map(|line| {
            let mut fields = line.trim_start_matches(['●', '*', ' ']).split_whitespace();
            let (unit, active) = (fields.next()?, fields.nth(1)?);
            (unit.contains('.') && active == "failed").then_some((unit, line))
        })
        .collect();
    let summary = match rows.as_slice() {
        [] => "No unit has failed.".to_owned(),
        [(unit, _)] => format!("{unit} has failed."),
        many => {
            let units: Vec<&str> = many.iter().take(EVIDENCE).map(|row| row.0).collect();
            format!("{} units have failed: {}.", many.len(), units.join(", "))
        }
    };
    let level = if rows.is_empty() {
        Level::Info
    } else {
        Level::Error
    };
    let evidence = rows.iter().take(EVIDENCE).map(|row| row.1.clone());
    Report {
        level,
        summary,
        evidence: evidence.collect(),
        finding: None,
    }
}

/// What a kernel log can hold, worst first: rule, words, what it means.
const COMPLAINTS: [(Signature, &[&str]); 4] = [
    (
        Signature::OomKill,
        &[
            "Out of memory: Killed process",
            "oom-kill:",
            "Memory cgroup out of memory",
        ],
    ),
    (Signature::HungTask, &["blocked for more than"]),
    (
        Signature::IoError,
        &["I/O error", "Buffer I/O error", "blk_update_request"],
    ),
    (Signature::ReadOnly, &["Remounting filesystem read-only"]),
];

/// `dmesg`.
pub(super) fn kernel(lines: &Lines) -> Report {
    let complaint = COMPLAINTS.iter().find_map(|(signature, words)| {
        let hits: Vec<String> = lines
            .iter()
            .rev()
            .filter(|line| words.iter().any(|word| line.contains(word)))
            .take(EVIDENCE)
            .cloned()
            .collect();
        (!hits.is_empty()).then_some((*signature, hits))
    });
    let Some((signature, evidence)) = complaint else {
        let summary = match lines.len() {
            0 => "The kernel's log is empty.".to_owned(),
            many => format!("The last {many} lines of the kernel's log hold no complaint."),
        };
        return Report {
            level: Level::Info,
            summary,
            evidence: Vec::new(),
            finding: None,
        };
    };
    let summary = signature.sentence();
    Report {
        level: Level::Error,
        summary: summary.clone(),
        evidence: evidence.clone(),
        finding: Some(Finding {
            signature,
            summary,
            evidence,
            recommend: None,
        }),
    }
}

/// `/proc/loadavg` and the number of processors.
pub(super) fn load(lines: &Lines) -> Option<Report> {
    let now: f32 = lines.front()?.split_whitespace().next()?.parse().ok()?;
    let processors: u16 = lines.back()?.trim().parse().ok()?;
    let each = now / f32::from(processors.max(1));
    let level = match each {
        each if each >= 4.0 => Level::Error,
        each if each >= 1.5 => Level::Warning,
        _ => Level::Info,
    };
    Some(Report {
        level,
        summary: format!("Load {now} on {processors} processors."),
        evidence: lines.iter().cloned().collect(),
        finding: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Lines {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn disk_judges_the_fullest_real_file_system() {
        let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        let rows = [
            ("/dev/sda1 100 50 50 50% /", Level::Info, "/ is 50 % full"),
            ("/dev/sda1 100 91 9 91% /", Level::Warning, "/ is 91 % full"),
            (
                "/dev/sda1 100 100 0 100% /\ntmpfs 1 1 0 100% /run",
                Level::Error,
                "/ is 100 % full",
            ),
            (
                "/dev/sda1 100 5 95 5% /\n/dev/loop0 9 9 0 100% /snap/a",
                Level::Info,
                "/ is 5 % full",
            ),
            (
                "/dev/sda1 9 1 8 11% /\n/dev/sdb1 9 9 0 100% /srv",
                Level::Error,
                "/srv is 100 % full",
            ),
        ];
        for (text, level, summary) in rows {
            let report = disk(&lines(&format!("{head}{text}"))).unwrap();
            assert_eq!(report.level, level, "{text}");
            assert!(report.summary.starts_with(summary), "{}", report.summary);
            assert_eq!(report.finding.is_some(), level == Level::Error, "{text}");
        }
        assert_eq!(disk(&lines(head)), None);
    }

    #[test]
    fn a_line_that_is_no_row_of_its_table_is_no_answer() {
        let welcome = "Welcome to devvm\nYour disk is 9 9 9 100% full\nLast login: never failed";
        assert_eq!(disk(&lines(welcome)), None);
        assert_eq!(services(&lines(welcome)).summary, "No unit has failed.");
        assert_eq!(memory(&lines(welcome)), None);
    }

    #[test]
    fn a_wrapped_row_and_a_mount_with_blanks_are_read() {
        let text =
            "/dev/mapper/a-very-long-name-of-a-volume\n      100 99 1 99% /srv/my files\nall:";
        let report = disk(&lines(text)).unwrap();
        assert!(report.summary.starts_with("/srv/my files is 99 % full"));
    }

    #[test]
    fn a_remote_file_system_that_does_not_answer_is_named_after_the_local_ones() {
        let local = "/dev/sda1 100 50 50 50% /\nall:\n";
        let remote = "remote:\nnas:/home /mnt/nas nfs4 rw,hard 0 0";
        let well = disk(&lines(&format!("{local}code: 0\n{remote}"))).unwrap();
        assert_eq!((well.level, well.finding), (Level::Info, None));
        let dead = disk(&lines(&format!("{local}code: 137\n{remote}"))).unwrap();
        assert_eq!(dead.level, Level::Error);
        assert!(
            dead.summary.starts_with("/ is 50 % full"),
            "{}",
            dead.summary
        );
        assert!(
            dead.summary
                .contains("/mnt/nas (nas:/home) does not answer")
        );
        assert_eq!(dead.finding.unwrap().signature, Signature::RemoteSilent);
        // A file system that may not be looked into is none that is dead.
        let denied = disk(&lines(&format!("{local}code: 1\n{remote}"))).unwrap();
        assert_eq!(denied.level, Level::Info);
        let alone = disk(&lines(&format!("all:\ncode: 137\n{remote}"))).unwrap();
        assert!(alone.summary.starts_with("/mnt/nas"), "{}", alone.summary);
    }

    #[test]
    fn memory_judges_what_is_free_and_what_waits() {
        let rows = [
            (4000, "", Level::Info),
            (500, "", Level::Warning),
            (100, "", Level::Error),
            (
                4000,
                "some avg10=12.50 avg60=0.00 avg300=0.00 total=1",
                Level::Warning,
            ),
            (
                4000,
                "some avg10=55.00 avg60=0.00 avg300=0.00 total=1",
                Level::Error,
            ),
        ];
        for (free, pressure, level) in rows {
            let text = format!("MemTotal: 8000 kB\nMemAvailable: {free} kB\n{pressure}");
            assert_eq!(memory(&lines(&text)).unwrap().level, level, "{text}");
        }
        assert_eq!(memory(&lines("MemTotal: 8000 kB")), None);
    }

    #[test]
    fn services_names_what_has_failed() {
        assert_eq!(services(&lines("")).level, Level::Info);
        let one = services(&lines("app.service loaded failed failed The app"));
        assert_eq!(
            (one.level, one.summary.as_str()),
            (Level::Error, "app.service has failed.")
        );
        let two = services(&lines("● a.service loaded failed\n* b.mount loaded failed"));
        assert_eq!(two.summary, "2 units have failed: a.service, b.mount.");
    }

    #[test]
    fn kernel_names_the_worst_complaint_with_its_newest_lines() {
        let quiet = kernel(&lines("[ 1.0] Linux version 6.1"));
        assert_eq!((quiet.level, quiet.finding), (Level::Info, None));
        let rows = [
            (
                "[ 9.1] Out of memory: Killed process 812 (java)",
                "oom-kill",
            ),
            (
                "[ 9.1] INFO: task jbd2:99 blocked for more than 120 seconds.",
                "hung-task",
            ),
            (
                "[ 9.1] blk_update_request: I/O error, dev sda, sector 1",
                "io-error",
            ),
            (
                "[ 9.1] EXT4-fs (sda1): Remounting filesystem read-only",
                "read-only",
            ),
        ];
        for (line, signature) in rows {
            let report = kernel(&lines(&format!("[ 1.0] Linux\n{line}\n[ 9.9] eth0: up")));
            assert_eq!(report.evidence, [line]);
            assert_eq!(report.finding.unwrap().signature.as_str(), signature);
        }
        assert_eq!(kernel(&lines("")).summary, "The kernel's log is empty.");
    }

    #[test]
    fn load_is_judged_per_processor() {
        for (text, level) in [
            ("0.50 0.4 0.3 1/200 99\n2", Level::Info),
            ("4.00 0.4 0.3 1/200 99\n2", Level::Warning),
            ("9.00 0.4 0.3 1/200 99\n2", Level::Error),
        ] {
            assert_eq!(load(&lines(text)).unwrap().level, level, "{text}");
        }
        assert_eq!(load(&lines("nonsense")), None);
    }
}
