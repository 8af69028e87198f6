//! The diagnosis `disk`: how full the file systems are, and whether remote ones answer.

use std::collections::HashSet;

use breakglass_model::Level;

use super::report::{EVIDENCE_MAX_LINES, Lines, Report};
use crate::findings::{Finding, Signature};

/// File systems that are always full, or contain nothing.
const IGNORED_DEVICES: [&str; 6] = ["tmpfs", "devtmpfs", "udev", "efivarfs", "overlay", "none"];
/// A shell's exit code for a command that SIGKILL ended; other signals have higher codes.
const KILLED_EXIT_CODE: u32 = 137;

/// A file system in `df -P`.
struct Row<'a> {
    device: &'a str,
    free: u64,
    used: u64,
    mount: String,
}

impl Row<'_> {
    fn parse(line: &str) -> Option<Row<'_>> {
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
        !IGNORED_DEVICES.contains(&self.device) && !self.device.starts_with("/dev/loop")
    }
}

/// The lines of `df`; a row that is wrapped after its device is joined again.
fn unwrapped(lines: &Lines) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for line in lines {
        match rows.last_mut() {
            Some(last) if last.split_whitespace().count() == 1 && line.starts_with(' ') => {
                last.push_str(line);
            }
            _ => rows.push(line.clone()),
        }
    }
    rows
}

/// The remote file systems, as part of a sentence, if a `df` of all file systems had to be killed.
fn unanswering(lines: &Lines) -> Option<String> {
    let code = lines.iter().find_map(|line| line.strip_prefix("code: "))?;
    code.parse()
        .ok()
        .filter(|code: &u32| *code >= KILLED_EXIT_CODE)?;
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

/// Parses `df -P` of the local file systems, the exit code of `df` of all, and the kernel's list of remote ones.
pub(super) fn disk(lines: &Lines) -> Option<Report> {
    let rows = unwrapped(lines);
    let mut seen = HashSet::new();
    let rows: Vec<(Row<'_>, &String)> = rows
        .iter()
        .filter_map(|line| Some((Row::parse(line)?, line)))
        .filter(|(row, _)| row.is_disk() && seen.insert(row.mount.clone()))
        .collect();
    let unanswering = unanswering(lines);
    let fullest = rows
        .iter()
        .map(|(row, _)| row)
        .max_by_key(|row| (row.used, std::cmp::Reverse(row.free)));
    let (level, summary) = match fullest {
        Some(row) => fullness(row),
        None if unanswering.is_some() => (Level::Info, String::new()),
        None => return None,
    };
    let evidence = rows.iter().map(|(_, line)| (*line).clone());
    let evidence: Vec<String> = evidence.take(EVIDENCE_MAX_LINES).collect();
    let full = fullest
        .filter(|_| level == Level::Error)
        .map(|row| Finding {
            signature: Signature::DiskFull,
            summary: format!(
                "{} is full: free space there before restarting anything; no verb helps.",
                row.mount
            ),
            evidence: evidence.clone(),
            recommend: None,
        });
    let Some(unanswering) = unanswering else {
        return Some(Report {
            finding: full,
            ..Report::new(level, summary, evidence)
        });
    };
    let message = format!(
        "{unanswering} does not answer within 5 s: every program that uses it hangs. Check the machine that \
         serves it, and the network between; no verb helps."
    );
    let both = format!("{summary} {message}").trim().to_owned();
    Some(Report {
        finding: full.or(Some(Finding {
            signature: Signature::RemoteSilent,
            summary: message,
            evidence: evidence.clone(),
            recommend: None,
        })),
        ..Report::new(Level::Error, both, evidence)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Lines {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn fullest_real_file_system_decides() {
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
    fn wrapped_row_and_mount_point_with_spaces_are_parsed() {
        let text =
            "/dev/mapper/a-very-long-name-of-a-volume\n      100 99 1 99% /srv/my files\nall:";
        let report = disk(&lines(text)).unwrap();
        assert!(report.summary.starts_with("/srv/my files is 99 % full"));
    }

    #[test]
    fn unanswering_remote_file_system_is_named_after_the_local_ones() {
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
        // A file system without permission is not one that does not answer.
        let denied = disk(&lines(&format!("{local}code: 1\n{remote}"))).unwrap();
        assert_eq!(denied.level, Level::Info);
        let alone = disk(&lines(&format!("all:\ncode: 137\n{remote}"))).unwrap();
        assert!(alone.summary.starts_with("/mnt/nas"), "{}", alone.summary);
    }
}
