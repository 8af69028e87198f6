//! `journalctl` and `dmesg`.

use super::call::Call;
use super::units::{bytes, human};
use crate::machine::Entry;
use crate::shell::reply::Reply;

const LINES_DEFAULT: usize = 1000;
const JOURNAL_DIR: &str = "/var/log/journal";
const JOURNAL_FILE: &str = "/var/log/journal/4b1f0c/system.journal";
/// The beginnings of the severities' names, most severe first.
const PRIORITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug",
];

pub(super) fn journalctl(call: &mut Call<'_>) -> Reply {
    if call.has_long("--disk-usage") {
        let usage = human(call.state.guest.disk.usage(JOURNAL_DIR));
        return Reply::out(format!(
            "Archived and active journals take up {usage} in the file system.\n"
        ));
    }
    if call.has_long("--vacuum-size") || call.has_long("--vacuum-time") {
        return vacuum(call);
    }
    let entries = selected(call);
    let mut lines: Vec<String> = entries.iter().map(|entry| line(call, entry)).collect();
    let count = call.number(&["-n", "--lines"]).unwrap_or(LINES_DEFAULT);
    lines.drain(..lines.len().saturating_sub(count));
    if call.has('r') {
        lines.reverse();
    }
    if lines.is_empty() {
        lines.push("-- No entries --\n".to_owned());
    }
    Reply::out(lines.concat()).endless_if(call.has('f'))
}

/// An entry in the output format that the options select.
pub(super) fn line(call: &Call<'_>, entry: &Entry) -> String {
    let format = match call.value(&["-o", "--output"]) {
        Some("cat") => return format!("{}\n", entry.message),
        Some("short-iso") => "%Y-%m-%dT%H:%M:%S+0000",
        _ => "%b %d %H:%M:%S",
    };
    let date = call.date(entry.at, format);
    let pid = entry.pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
    format!(
        "{date} devvm {}{pid}: {}\n",
        entry.identifier, entry.message
    )
}

fn selected<'a>(call: &'a Call<'_>) -> Vec<&'a Entry> {
    let journal = &call.state.guest.journal;
    let is_kernel = call.has('k') || call.has_long("--dmesg");
    let boot = call.value(&["-b", "--boot"]);
    let boots_back = boot.and_then(|word| word.strip_prefix('-')?.parse().ok());
    let mut entries = match boots_back {
        Some(back) => journal.of_boot(back),
        None if call.has('b') || is_kernel => journal.of_boot(0),
        None => journal.all(),
    };
    let unit = call.value(&["-u", "-xeu", "-xu", "-eu", "--unit"]);
    let priority = call.value(&["-p", "--priority"]).map_or(7, priority);
    let pattern = call.value(&["-g", "--grep"]).map(str::to_lowercase);
    entries.retain(|entry| {
        unit.is_none_or(|unit| entry.is_of_unit(unit))
            && (!is_kernel || entry.identifier == "kernel")
            && usize::from(entry.priority) <= priority
            && pattern
                .as_ref()
                .is_none_or(|text| entry.message.to_lowercase().contains(text))
    });
    entries
}

/// The severity named by `word`: a name, a number, or a range, of which the end counts.
fn priority(word: &str) -> usize {
    let word = word.rsplit("..").next().unwrap_or(word);
    let named = PRIORITIES.iter().position(|name| word.starts_with(name));
    named.or(word.parse().ok()).unwrap_or(7)
}

fn vacuum(call: &mut Call<'_>) -> Reply {
    let size = call.value(&["--vacuum-size"]).and_then(bytes);
    let kept = size.unwrap_or(16 << 20).max(8 << 20);
    let disk = &mut call.state.guest.disk;
    let before = disk.usage(JOURNAL_DIR);
    if before > kept
        && let Err(error) = disk.truncate(JOURNAL_FILE, kept, call.user, call.now)
    {
        return Reply::fail(1, format_args!("Failed to vacuum {JOURNAL_DIR}: {error}"));
    }
    let freed = human(before - disk.usage(JOURNAL_DIR));
    let message = format!("Vacuuming done, freed {freed} of archived journals from {JOURNAL_DIR}.");
    Reply::fail(0, message)
}

pub(super) fn dmesg(call: &mut Call<'_>) -> Reply {
    if !call.is_root() {
        return Reply::fail(
            1,
            "dmesg: read kernel buffer failed: Operation not permitted",
        );
    }
    let guest = &call.state.guest;
    let mut out = String::new();
    for entry in guest.journal.of_boot(0) {
        if entry.identifier != "kernel" {
            continue;
        }
        let stamp = if call.has('T') {
            call.date(entry.at, "%a %b %e %H:%M:%S %Y")
        } else {
            let since = entry.at.since(guest.booted);
            format!("{:>5}.{:06}", since.as_secs(), since.subsec_micros())
        };
        out.push_str(&format!("[{stamp}] {}\n", entry.message));
    }
    Reply::out(out)
}
