//! What the kernel tells of itself: uptime, load, and the files under /proc.

use super::{Call, Reply};
use crate::machine::{Moment, State};

/// The text of a file under /proc, if there is such a file.
pub(super) fn proc_file(path: &str, state: &State, now: Moment) -> Option<String> {
    let memory = state.guest.memory(now);
    let seconds = now.since(state.guest.booted).as_secs();
    let pressure = |some: u32| {
        format!(
            "some avg10={some}.00 avg60={some}.00 avg300={}.00 total={}\nfull avg10={}.00 avg60={}.00 avg300=0.00 total=0\n",
            some / 2,
            u64::from(some) * 9_000_000,
            some / 2,
            some / 3
        )
    };
    Some(match path {
        "/proc/loadavg" => {
            let running = state.guest.processes.all().len();
            format!(
                "{} 1/{running} {}\n",
                load(state, now).replace(',', ""),
                30_000 + running
            )
        }
        "/proc/uptime" => format!("{seconds}.00 {}.00\n", seconds * 2),
        "/proc/pressure/memory" => pressure(memory.pressure()),
        "/proc/pressure/io" => pressure(memory.pressure() / 2),
        "/proc/pressure/cpu" => pressure(0),
        "/proc/meminfo" => meminfo(&memory),
        "/proc/swaps" => format!(
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/swapfile                               file\t\t{}\t\t{}\t\t-2\n",
            memory.swap_total >> 10,
            memory.swap_used >> 10
        ),
        "/proc/version" => {
            "Linux version 6.1.0-28-cloud-amd64 (debian-kernel@lists.debian.org)\n".to_owned()
        }
        "/proc/mounts" => "/dev/vda1 / ext4 rw,relatime,errors=remount-ro 0 0\n".to_owned(),
        _ => return None,
    })
}

fn meminfo(memory: &crate::machine::Memory) -> String {
    let rows = [
        ("MemTotal", memory.total),
        ("MemFree", memory.free),
        ("MemAvailable", memory.available),
        ("Buffers", memory.cache / 20),
        ("Cached", memory.cache),
        ("SwapTotal", memory.swap_total),
        ("SwapFree", memory.swap_total - memory.swap_used),
    ];
    rows.iter()
        .map(|(name, bytes)| format!("{:<14}{:>10} kB\n", format!("{name}:"), bytes >> 10))
        .collect()
}

/// The three load averages: `0.08, 0.05, 0.01`.
pub(super) fn load(state: &State, now: Moment) -> String {
    let load = state.guest.load(now);
    let show = |hundredths: u32| format!("{}.{:02}", hundredths / 100, hundredths % 100);
    format!(
        "{}, {}, {}",
        show(load),
        show(load * 9 / 10),
        show(load * 7 / 10)
    )
}

/// The line that `uptime`, `w` and `top` share.
pub(super) fn uptime_line(call: &Call<'_>) -> String {
    let up = call.now.since(call.state.guest.booted).as_secs();
    let (days, hours, minutes) = (up / 86_400, up / 3_600 % 24, up / 60 % 60);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        _ => format!("{days} days, "),
    };
    let clock = if hours == 0 {
        format!("{minutes} min")
    } else {
        format!("{hours}:{minutes:02}")
    };
    let time = call.clock.date(call.now).strftime("%H:%M:%S");
    format!(
        "{time} up {days}{clock},  1 user,  load average: {}\n",
        load(call.state, call.now)
    )
}

pub(super) fn uptime(call: &mut Call<'_>) -> Reply {
    if call.has('s') {
        let since = call
            .clock
            .date(call.state.guest.booted)
            .strftime("%Y-%m-%d %H:%M:%S\n");
        return Reply::out(since.to_string());
    }
    Reply::out(format!(" {}", uptime_line(call)))
}

pub(super) fn date(call: &mut Call<'_>) -> Reply {
    let now = call.clock.date(call.now);
    let format = call.args.iter().find_map(|word| word.strip_prefix('+'));
    let format = match format {
        Some(format) => format.replace("%N", "000000000"),
        None if call.has('I') => "%Y-%m-%d".to_owned(),
        None => "%a %b %e %H:%M:%S UTC %Y".to_owned(),
    };
    match jiff::fmt::strtime::format(&format, now) {
        Ok(text) => Reply::out(format!("{text}\n")),
        Err(_) => Reply::fail(1, format!("date: invalid format '{format}'")),
    }
}
