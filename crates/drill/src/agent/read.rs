//! Reads what commands printed: pure, and cautious, since it comes from a broken machine.

/// The usage of `/` in percent, from `df`.
pub(super) fn disk_percent(df: &str) -> Option<u32> {
    let row = df.lines().find(|line| line.ends_with(" /"))?;
    row.split_whitespace()
        .find_map(|cell| cell.strip_suffix('%')?.parse().ok())
}

/// Available and total memory in the unit of `free`'s output.
pub(super) fn memory(free: &str) -> Option<(u64, u64)> {
    let row = free
        .lines()
        .find_map(|line| line.trim().strip_prefix("Mem:"))?;
    let cells: Vec<u64> = row
        .split_whitespace()
        .filter_map(|cell| cell.parse().ok())
        .collect();
    Some((*cells.get(5)?, *cells.first()?))
}

/// The units in `systemctl --failed`.
pub(super) fn failed_units(listing: &str) -> Vec<String> {
    let words = listing
        .lines()
        .filter(|line| line.contains(" failed "))
        .flat_map(str::split_whitespace);
    words
        .filter(|word| word.ends_with(".service") && is_plain(word))
        .map(str::to_owned)
        .collect()
}

/// The largest file that is fit to be emptied, from `du -a | sort -rn`: a log, a core, a leftover.
pub(super) fn largest_log(listing: &str) -> Option<(u64, String)> {
    let rows: Vec<(u64, &str)> = listing
        .lines()
        .filter_map(|line| {
            let (size, path) = line.split_once('\t')?;
            Some((size.trim().parse().ok()?, path))
        })
        .collect();
    let is_leaf = |path: &str| {
        !rows
            .iter()
            .any(|(_, other)| other.starts_with(&format!("{path}/")))
    };
    let disposable = |path: &str| {
        let in_place = ["/var/log/", "/tmp/", "/var/tmp/", "/var/crash/"]
            .iter()
            .any(|dir| path.starts_with(dir));
        in_place && !path.starts_with("/var/log/journal") && is_plain(path)
    };
    let found = rows
        .iter()
        .find(|(_, path)| is_leaf(path) && disposable(path))?;
    Some((found.0, found.1.to_owned()))
}

/// Process number and name of the largest process, from `ps -eo pid,rss,comm --sort=-rss`.
pub(super) fn largest_process(listing: &str) -> Option<(u32, String)> {
    listing.lines().find_map(|line| {
        let mut cells = line.split_whitespace();
        let (pid, _rss, name) = (
            cells.next()?.parse().ok()?,
            cells.next()?.parse::<u64>().ok()?,
            cells.next()?,
        );
        is_plain(name).then(|| (pid, name.to_owned()))
    })
}

/// The gate's verdict, from its last line.
pub(super) fn verdict(output: &str) -> Option<&str> {
    output
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("verdict: "))
}

/// Whether `word` may stand in a command: no character that means anything to a shell.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@".contains(c);
    !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) && !word.contains("..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn debians_own_output_is_understood() {
        let df = "Filesystem      Size  Used Avail Use% Mounted on\n/dev/vda1        40G   40G   12K 100% /\n";
        assert_eq!(disk_percent(df), Some(100));
        let free = "               total        used        free      shared  buff/cache   available\nMem:            3915        3846          35           1          33          34\n";
        assert_eq!(memory(free), Some((34, 3915)));
        assert_eq!(
            failed_units("● app.service loaded failed failed The application\n"),
            ["app.service"]
        );
        assert_eq!(verdict("a\nverdict: monitor-dead\n"), Some("monitor-dead"));
    }

    #[test]
    fn only_what_is_disposable_is_chosen_to_be_emptied() {
        let du =
            "40\t/\n30\t/var\n29\t/var/lib/app/data.db\n20\t/var/log\n19\t/var/log/app/trace.log\n";
        assert_eq!(largest_log(du), Some((19, "/var/log/app/trace.log".into())));
        assert_eq!(largest_log("9\t/var/lib/mysql/ibdata1\n"), None);
        assert_eq!(
            largest_log("9\t/var/log/a;reboot\n8\t/var/log/../../etc\n"),
            None
        );
    }

    proptest! {
        #[test]
        fn nothing_with_a_meaning_to_a_shell_is_ever_taken_from_output(text in "[ -~\t\n●]{0,120}") {
            let taken = failed_units(&text).into_iter()
                .chain(largest_log(&text).map(|found| found.1))
                .chain(largest_process(&text).map(|found| found.1));
            for word in taken {
                prop_assert!(word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-@".contains(c)));
            }
        }
    }
}
