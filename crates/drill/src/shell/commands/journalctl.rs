use super::{Call, Reply};
use crate::machine::{Clock, Entry};

/// Lines shown when nobody says how many.
const DEFAULT_LINES: usize = 1000;

/// One line as journald's short format prints it.
pub(super) fn show(entry: &Entry, clock: &Clock) -> String {
    let date = clock.date(entry.at).strftime("%b %d %H:%M:%S");
    let pid = entry.pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
    format!(
        "{date} devvm {}{pid}: {}\n",
        entry.identifier, entry.message
    )
}

pub(super) fn journalctl(call: &mut Call<'_>) -> Reply {
    if call.has_long("--disk-usage") {
        let bytes = call.state.guest.disk.usage("/var/log/journal");
        return Reply::out(format!(
            "Archived and active journals take up {} in the file system.\n",
            super::human(bytes)
        ));
    }
    if call
        .args
        .iter()
        .any(|word| word.starts_with("--vacuum-size") || word.starts_with("--vacuum-time"))
    {
        return vacuum(call);
    }
    let entries = selected(call);
    let mut lines: Vec<String> = entries.iter().map(|entry| line(call, entry)).collect();
    let count = call
        .value(&["-n", "--lines"])
        .and_then(|word| word.parse().ok())
        .unwrap_or(DEFAULT_LINES);
    lines.drain(..lines.len().saturating_sub(count));
    if call.has('r') {
        lines.reverse();
    }
    let mut reply = Reply::out(if lines.is_empty() {
        "-- No entries --\n".to_owned()
    } else {
        lines.concat()
    });
    if call.has('f') {
        reply.takes = std::time::Duration::MAX;
    }
    reply
}

fn line(call: &Call<'_>, entry: &Entry) -> String {
    match call.value(&["-o", "--output"]) {
        Some("cat") => format!("{}\n", entry.message),
        Some("short-iso") => format!(
            "{} {}",
            call.clock.date(entry.at).strftime("%Y-%m-%dT%H:%M:%S+0000"),
            &show(entry, call.clock)[16..]
        ),
        _ => show(entry, call.clock),
    }
}

fn selected<'a>(call: &'a Call<'_>) -> Vec<&'a Entry> {
    let journal = &call.state.guest.journal;
    let boot = call
        .value(&["-b", "--boot"])
        .and_then(|word| word.strip_prefix('-')?.parse().ok());
    let kernel = call.has('k') || call.has_long("--dmesg");
    let mut entries = match boot {
        Some(back) => journal.of_boot(back),
        None if call.has('b') || kernel => journal.of_boot(0),
        None => journal.all(),
    };
    let unit = call
        .value(&["-u", "-xeu", "-xu", "-eu", "--unit"])
        .map(|name| name.trim_end_matches(".service").to_owned());
    let priority = call.value(&["-p", "--priority"]).map_or(7, priority);
    let pattern = call.value(&["-g", "--grep"]).map(str::to_lowercase);
    entries.retain(|entry| {
        let of_unit = |name: &String| {
            entry
                .unit
                .as_deref()
                .is_some_and(|u| u.trim_end_matches(".service") == name)
        };
        let says = |text: &String| entry.message.to_lowercase().contains(text.as_str());
        unit.as_ref().is_none_or(of_unit)
            && (!kernel || entry.identifier == "kernel")
            && entry.priority <= priority
            && pattern.as_ref().is_none_or(says)
    });
    entries
}

fn priority(word: &str) -> u8 {
    match word.rsplit("..").next().unwrap_or(word) {
        "emerg" | "0" => 0,
        "alert" | "1" => 1,
        "crit" | "2" => 2,
        "err" | "error" | "3" => 3,
        "warning" | "warn" | "4" => 4,
        "notice" | "5" => 5,
        "info" | "6" => 6,
        _ => 7,
    }
}

fn vacuum(call: &mut Call<'_>) -> Reply {
    let kept = call
        .value(&["--vacuum-size"])
        .and_then(super::files::bytes)
        .unwrap_or(16 << 20)
        .max(8 << 20);
    let path = "/var/log/journal/4b1f0c/system.journal";
    let before = call.state.guest.disk.usage("/var/log/journal");
    if before > kept
        && let Err(error) = call
            .state
            .guest
            .disk
            .truncate(path, kept, call.user, call.now)
    {
        return Reply::fail(1, format!("Failed to vacuum /var/log/journal: {error}"));
    }
    let freed = before - call.state.guest.disk.usage("/var/log/journal");
    Reply {
        err: format!(
            "Vacuuming done, freed {} of archived journals from /var/log/journal.\n",
            super::human(freed)
        ),
        ..Reply::default()
    }
}

pub(super) fn dmesg(call: &mut Call<'_>) -> Reply {
    if !call.is_root() {
        return Reply::fail(
            1,
            "dmesg: read kernel buffer failed: Operation not permitted",
        );
    }
    let booted = call.state.guest.booted;
    let stamp = |entry: &Entry| {
        if call.has('T') {
            call.clock
                .date(entry.at)
                .strftime("%a %b %e %H:%M:%S %Y")
                .to_string()
        } else {
            let since = entry.at.since(booted);
            format!("{:>5}.{:06}", since.as_secs(), since.subsec_micros())
        }
    };
    let entries = call.state.guest.journal.of_boot(0);
    let kernel = entries.iter().filter(|entry| entry.identifier == "kernel");
    Reply::out(
        kernel
            .map(|entry| format!("[{}] {}\n", stamp(entry), entry.message))
            .collect::<String>(),
    )
}
