//! The files under /proc that change. Their constant neighbours are files of the disk.

use crate::machine::{Memory, Moment, State};

/// The content of a file under /proc; `None` for any other file.
pub(super) fn read(path: &str, state: &State, now: Moment) -> Option<String> {
    let memory = state.guest.memory(now);
    let uptime = now.since(state.guest.booted).as_secs();
    Some(match path {
        "/proc/loadavg" => {
            let tasks = state.guest.processes.all().len();
            let load = load(state, now).replace(',', "");
            format!("{load} 1/{tasks} {}\n", 30_000 + tasks)
        }
        "/proc/uptime" => format!("{uptime}.00 {}.00\n", uptime * 2),
        "/proc/pressure/memory" => pressure(memory.pressure()),
        "/proc/pressure/io" => pressure(memory.pressure() / 2),
        "/proc/pressure/cpu" => pressure(0),
        "/proc/meminfo" => meminfo(&memory),
        _ => return None,
    })
}

fn pressure(percent: u32) -> String {
    let (half, third) = (percent / 2, percent / 3);
    let total = u64::from(percent) * 9_000_000;
    format!(
        "some avg10={percent}.00 avg60={percent}.00 avg300={half}.00 total={total}\nfull avg10={half}.00 avg60={third}.00 avg300=0.00 total=0\n"
    )
}

fn meminfo(memory: &Memory) -> String {
    let rows = [
        ("MemTotal:", memory.total),
        ("MemFree:", memory.free),
        ("MemAvailable:", memory.available),
        ("Buffers:", memory.cache / 20),
        ("Cached:", memory.cache),
        ("SwapTotal:", memory.swap_total),
        ("SwapFree:", memory.swap_total - memory.swap_used),
    ];
    let row = |(name, bytes): (&str, u64)| format!("{name:<14}{:>10} kB\n", bytes >> 10);
    rows.into_iter().map(row).collect()
}

/// The three load averages: `0.08, 0.05, 0.01`.
pub(super) fn load(state: &State, now: Moment) -> String {
    let load = state.guest.load(now);
    [load, load * 9 / 10, load * 7 / 10]
        .map(|hundredths| format!("{}.{:02}", hundredths / 100, hundredths % 100))
        .join(", ")
}
