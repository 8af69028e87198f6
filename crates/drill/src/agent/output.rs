//! Reads facts from the output of commands. Cautious, since the output comes from a broken machine:
//! only plain words become part of a later command.

/// The usage of `/` in percent, from `df`.
pub(super) fn disk_percent(df: &str) -> Option<u32> {
    let row = df.lines().find(|line| line.ends_with(" /"))?;
    let mut cells = row.split_whitespace();
    cells.find_map(|cell| cell.strip_suffix('%')?.parse().ok())
}

/// Available and total memory, from `free`, in its unit.
pub(super) fn memory(free: &str) -> Option<(u64, u64)> {
    let mut rows = free.lines().map(str::trim);
    let row = rows.find_map(|line| line.strip_prefix("Mem:"))?;
    let cells = row.split_whitespace().map(str::parse);
    let cells: Vec<u64> = cells.collect::<Result<_, _>>().ok()?;
    Some((*cells.get(5)?, *cells.first()?))
}

/// The units in `systemctl --failed`.
pub(super) fn failed_units(listing: &str) -> Vec<String> {
    let rows = listing.lines().filter(|line| line.contains(" failed "));
    let words = rows.flat_map(str::split_whitespace);
    let units = words.filter(|word| word.ends_with(".service") && is_plain(word));
    units.map(str::to_owned).collect()
}

/// The largest file that may be emptied, from `du -a | sort -rn`: a log, a core or a leftover.
pub(super) fn largest_log(listing: &str) -> Option<String> {
    let rows = listing.lines().filter_map(|line| line.split_once('\t'));
    let is_number = |size: &str| size.trim().parse::<u64>().is_ok();
    let paths = rows.filter(|(size, _)| is_number(size));
    let paths: Vec<&str> = paths.map(|(_, path)| path).collect();
    let is_leaf = |path: &str| {
        let below = format!("{path}/");
        !paths.iter().any(|other| other.starts_with(&below))
    };
    let is_disposable = |path: &str| {
        let dirs = ["/var/log/", "/tmp/", "/var/tmp/", "/var/crash/"];
        dirs.iter().any(|dir| path.starts_with(dir)) && !path.starts_with("/var/log/journal")
    };
    let mut paths = paths.iter();
    let path = paths.find(|path| is_leaf(path) && is_disposable(path) && is_plain(path))?;
    Some((*path).to_owned())
}

/// PID and name of the largest process, from `ps -eo pid,rss,comm --sort=-rss`.
pub(super) fn largest_process(listing: &str) -> Option<(u32, String)> {
    listing.lines().find_map(|line| {
        let mut cells = line.split_whitespace();
        let pid = cells.next()?.parse().ok()?;
        cells.next()?.parse::<u64>().ok()?;
        let name = cells.next().filter(|name| is_plain(name))?;
        Some((pid, name.to_owned()))
    })
}

/// The gate's verdict, from its last line.
pub(super) fn verdict(output: &str) -> Option<&str> {
    let mut lines = output.lines().rev();
    lines.find_map(|line| line.strip_prefix("verdict: "))
}

/// Whether `word` may be part of a command: it has no character with a meaning to a shell.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@".contains(c);
    !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) && !word.contains("..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_output_of_debian_is_read() {
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
    fn only_a_disposable_file_is_chosen() {
        let du =
            "40\t/\n30\t/var\n29\t/var/lib/app/data.db\n20\t/var/log\n19\t/var/log/app/trace.log\n";
        assert_eq!(largest_log(du).as_deref(), Some("/var/log/app/trace.log"));
        assert_eq!(largest_log("9\t/var/lib/mysql/ibdata1\n"), None);
        assert_eq!(
            largest_log("9\t/var/log/a;reboot\n8\t/var/log/../../etc\n"),
            None
        );
    }

    proptest! {
        #[test]
        fn no_shell_character_is_taken_from_output(text in "[ -~\t\n●]{0,120}") {
            let taken = failed_units(&text).into_iter()
                .chain(largest_log(&text))
                .chain(largest_process(&text).map(|found| found.1));
            for word in taken {
                prop_assert!(word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-@".contains(c)));
            }
        }
    }
}
