//! Parses the output of the diagnoses other than `disk`. `None`: the output is not what was expected.

use breakglass_model::Level;

use super::report::{EVIDENCE_MAX_LINES, Lines, Report};
use crate::findings::{Finding, Signature};

/// Parses `/proc/meminfo`, and `/proc/pressure/memory` if the kernel has it.
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
    let relevant = [
        "MemTotal",
        "MemAvailable",
        "SwapTotal",
        "SwapFree",
        "some",
        "full",
    ];
    let evidence = lines
        .iter()
        .filter(|line| relevant.iter().any(|word| line.starts_with(word)));
    let summary = format!(
        "{} of {} MiB of memory are free ({percent} %).{pressure}",
        free / 1024,
        total / 1024
    );
    Some(Report::new(level, summary, evidence.cloned().collect()))
}

/// Parses `systemctl --failed --plain --no-legend`; lines that are not rows of its table are ignored.
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
            let units: Vec<&str> = many
                .iter()
                .take(EVIDENCE_MAX_LINES)
                .map(|row| row.0)
                .collect();
            format!("{} units have failed: {}.", many.len(), units.join(", "))
        }
    };
    let level = if rows.is_empty() {
        Level::Info
    } else {
        Level::Error
    };
    let evidence = rows
        .iter()
        .take(EVIDENCE_MAX_LINES)
        .map(|row| row.1.clone());
    Report::new(level, summary, evidence.collect())
}

/// Errors in a kernel log, worst first, and the texts that show them.
const ERRORS: [(Signature, &[&str]); 4] = [
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

/// Parses `dmesg`.
pub(super) fn kernel(lines: &Lines) -> Report {
    let error = ERRORS.iter().find_map(|(signature, texts)| {
        let matches: Vec<String> = lines
            .iter()
            .rev()
            .filter(|line| texts.iter().any(|text| line.contains(text)))
            .take(EVIDENCE_MAX_LINES)
            .cloned()
            .collect();
        (!matches.is_empty()).then_some((*signature, matches))
    });
    let Some((signature, evidence)) = error else {
        let summary = match lines.len() {
            0 => "The kernel's log is empty.".to_owned(),
            many => format!("The last {many} lines of the kernel's log contain no known error."),
        };
        return Report::new(Level::Info, summary, Vec::new());
    };
    let summary = signature.sentence();
    Report {
        finding: Some(Finding {
            signature,
            summary: summary.clone(),
            evidence: evidence.clone(),
            recommend: None,
        }),
        ..Report::new(Level::Error, summary, evidence)
    }
}

/// Parses `/proc/loadavg` and the number of processors.
pub(super) fn load(lines: &Lines) -> Option<Report> {
    let now: f32 = lines.front()?.split_whitespace().next()?.parse().ok()?;
    let processors: u16 = lines.back()?.trim().parse().ok()?;
    let each = now / f32::from(processors.max(1));
    let level = if each >= 4.0 {
        Level::Error
    } else if each >= 1.5 {
        Level::Warning
    } else {
        Level::Info
    };
    let summary = format!("Load {now} on {processors} processors.");
    Some(Report::new(level, summary, lines.iter().cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Lines {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn unrelated_lines_are_not_parsed() {
        let welcome = "Welcome to devvm\nYour disk is 9 9 9 100% full\nLast login: never failed";
        assert_eq!(super::super::disk::disk(&lines(welcome)), None);
        assert_eq!(services(&lines(welcome)).summary, "No unit has failed.");
        assert_eq!(memory(&lines(welcome)), None);
    }

    #[test]
    fn memory_level_follows_from_free_memory_and_pressure() {
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
    fn failed_services_are_named() {
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
    fn worst_kernel_error_is_named_with_its_newest_lines() {
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
    fn load_level_is_per_processor() {
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
