//! From a command's lines to a report. `None`: the lines are not what was expected.

use std::collections::VecDeque;

use breakglass_journal::Level;

use super::Report;
use crate::findings::Finding;

type Lines = VecDeque<String>;

/// File systems that are full by nature, or hold nothing.
const NOT_DISKS: [&str; 6] = ["tmpfs", "devtmpfs", "udev", "efivarfs", "overlay", "none"];
/// Lines of evidence that a report carries.
const EVIDENCE: usize = 12;

/// `df -P`.
pub(super) fn disk(lines: &Lines) -> Option<Report> {
    let rows: Vec<(u64, u64, &str, &String)> = lines
        .iter()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let device = fields.next()?;
            let (free, used) = (
                fields.nth(2)?.parse().ok()?,
                fields.next()?.strip_suffix('%')?.parse().ok()?,
            );
            let mount = fields.next()?;
            let real = !NOT_DISKS.contains(&device) && !device.starts_with("/dev/loop");
            real.then_some((used, free, mount, line))
        })
        .collect();
    let (used, free, mount, _) = rows
        .iter()
        .max_by_key(|row| (row.0, std::cmp::Reverse(row.1)))?;
    let level = match (used, free) {
        (98.., _) | (_, 0) => Level::Error,
        (90.., _) => Level::Warning,
        _ => Level::Info,
    };
    let evidence: Vec<String> = rows
        .iter()
        .map(|row| row.3.clone())
        .take(EVIDENCE)
        .collect();
    let finding = (level == Level::Error).then(|| Finding {
        signature: "disk-full",
        summary: format!(
            "{mount} is full: free space there before anything is restarted; no verb cures it."
        ),
        evidence: evidence.clone(),
        recommend: None,
    });
    Some(Report {
        level,
        summary: format!("{mount} is {used} % full, {} MiB free.", free / 1024),
        evidence,
        finding,
    })
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

/// `systemctl --failed --plain --no-legend`; no line is good news.
#[allow(clippy::unnecessary_wraps, reason = "one shape for all parsers")]
pub(super) fn services(lines: &Lines) -> Option<Report> {
    let units: Vec<&str> = lines
        .iter()
        .filter_map(|line| {
            line.trim_start_matches(['●', '*', ' '])
                .split_whitespace()
                .next()
        })
        .collect();
    let summary = match units.len() {
        0 => "No unit has failed.".to_owned(),
        1 => format!("{} has failed.", units[0]),
        many => format!(
            "{many} units have failed: {}.",
            units[..many.min(EVIDENCE)].join(", ")
        ),
    };
    let level = if units.is_empty() {
        Level::Info
    } else {
        Level::Error
    };
    let evidence = lines.iter().take(EVIDENCE).cloned().collect();
    Some(Report {
        level,
        summary,
        evidence,
        finding: None,
    })
}

/// What a kernel log can hold, worst first: rule, words, what it means.
const COMPLAINTS: [(&str, &[&str], &str); 4] = [
    (
        "oom-kill",
        &[
            "Out of memory: Killed process",
            "oom-kill:",
            "Memory cgroup out of memory",
        ],
        "The kernel ran out of memory and killed processes: find what ate it and restart what was killed.",
    ),
    (
        "hung-task",
        &["blocked for more than"],
        "Tasks hang in the kernel, mostly waiting for a disk that does not answer: if the guest's writes stand still, cycle, not reset.",
    ),
    (
        "io-error",
        &["I/O error", "Buffer I/O error", "blk_update_request"],
        "The disk gives errors: save what matters first, and look at the host's storage.",
    ),
    (
        "read-only",
        &["Remounting filesystem read-only"],
        "A file system went read-only after an error: look at the disk before it is remounted.",
    ),
];

/// `dmesg`.
pub(super) fn kernel(lines: &Lines) -> Option<Report> {
    if lines.is_empty() {
        return None;
    }
    let complaint = COMPLAINTS.iter().find_map(|(signature, words, meaning)| {
        let hits: Vec<String> = lines
            .iter()
            .rev()
            .filter(|line| words.iter().any(|word| line.contains(word)))
            .take(EVIDENCE)
            .cloned()
            .collect();
        (!hits.is_empty()).then_some((*signature, *meaning, hits))
    });
    let Some((signature, meaning, evidence)) = complaint else {
        let summary = format!(
            "The last {} lines of the kernel's log hold no complaint.",
            lines.len()
        );
        return Some(Report {
            level: Level::Info,
            summary,
            evidence: Vec::new(),
            finding: None,
        });
    };
    let (summary, evidence_of_finding) = (meaning.to_owned(), evidence.clone());
    Some(Report {
        level: Level::Error,
        summary: summary.clone(),
        evidence,
        finding: Some(Finding {
            signature,
            summary,
            evidence: evidence_of_finding,
            recommend: None,
        }),
    })
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
        assert_eq!(services(&lines("")).unwrap().level, Level::Info);
        let one = services(&lines("app.service loaded failed failed The app")).unwrap();
        assert_eq!(
            (one.level, one.summary.as_str()),
            (Level::Error, "app.service has failed.")
        );
        let two = services(&lines("● a.service loaded failed\n* b.mount loaded failed")).unwrap();
        assert_eq!(two.summary, "2 units have failed: a.service, b.mount.");
    }

    #[test]
    fn kernel_names_the_worst_complaint_with_its_newest_lines() {
        let quiet = kernel(&lines("[ 1.0] Linux version 6.1")).unwrap();
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
            let report = kernel(&lines(&format!("[ 1.0] Linux\n{line}\n[ 9.9] eth0: up"))).unwrap();
            assert_eq!(report.evidence, [line]);
            assert_eq!(report.finding.unwrap().signature, signature);
        }
        assert_eq!(kernel(&lines("")), None);
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
