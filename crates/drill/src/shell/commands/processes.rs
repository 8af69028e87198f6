//! `ps`, `top`, `kill` and their like.

use super::status::uptime_line;
use super::{Call, Reply};
use crate::machine::{Moment, Process};

/// Processes in the order that the options ask for.
fn sorted(call: &Call<'_>, key: &str) -> Vec<Process> {
    let mut list = call.state.guest.processes.all().to_vec();
    let now = call.now;
    match key.trim_start_matches(['-', '+']) {
        "%mem" | "rss" | "pmem" | "%MEM" | "RES" => {
            list.sort_by_key(|p| std::cmp::Reverse(p.resident(now)));
        }
        "%cpu" | "pcpu" | "%CPU" => list.sort_by_key(|p| std::cmp::Reverse(p.cpu)),
        _ => {}
    }
    list
}

/// Tenths of a percent of the memory.
fn share(process: &Process, call: &Call<'_>) -> u64 {
    process.resident(call.now) * 1000 / call.state.guest.memory(call.now).total
}

fn state(process: &Process) -> &'static str {
    if process.pid == 1 || process.unit.is_some() {
        "Ss"
    } else {
        "I"
    }
}

pub(super) fn ps(call: &mut Call<'_>) -> Reply {
    let key = call.value(&["--sort"]).unwrap_or_default().to_owned();
    let list = sorted(call, &key);
    if let Some(columns) = columns(call) {
        return Reply::out(custom(call, &list, &columns));
    }
    let full = call
        .args
        .iter()
        .any(|word| word.contains('u') && !word.starts_with("--"));
    let mut out = String::from(if full {
        "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n"
    } else {
        "    PID TTY          TIME CMD\n"
    });
    for process in &list {
        out.push_str(&if full {
            full_row(call, process)
        } else {
            short_row(process)
        });
    }
    Reply::out(out)
}

fn full_row(call: &Call<'_>, process: &Process) -> String {
    let (kib, share) = (process.resident(call.now) >> 10, share(process, call));
    let start = call.clock.date(process.started).strftime("%H:%M");
    format!(
        "{:<10} {:>5} {:>2}.{} {:>2}.{} {:>6} {:>5} ?        {:<4} {start} {:>6} {}\n",
        process.user,
        process.pid,
        process.cpu / 10,
        process.cpu % 10,
        share / 10,
        share % 10,
        if kib == 0 { 0 } else { kib + 21_000 },
        kib,
        state(process),
        cpu_time(process, call.now),
        process.command
    )
}

fn short_row(process: &Process) -> String {
    format!("{:>7} ?        00:00:01 {}\n", process.pid, process.name())
}

fn cpu_time(process: &Process, now: Moment) -> String {
    let seconds = now.since(process.started).as_secs() * u64::from(process.cpu) / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// The columns of `-o pid,comm,rss`.
fn columns(call: &Call<'_>) -> Option<Vec<String>> {
    let list = call.value(&["-eo", "-Ao", "-axo", "-o", "axo", "--format"])?;
    Some(
        list.split(',')
            .map(|name| name.trim_end_matches('=').to_owned())
            .collect(),
    )
}

fn custom(call: &Call<'_>, list: &[Process], columns: &[String]) -> String {
    let cell = |process: &Process, column: &str| {
        let share = share(process, call);
        match column {
            "pid" => format!("{:>7}", process.pid),
            "ppid" => format!("{:>7}", process.ppid),
            "user" => format!("{:<10}", process.user),
            "rss" => format!("{:>8}", process.resident(call.now) >> 10),
            "stat" | "state" | "s" => format!("{:<4}", state(process)),
            "%mem" | "pmem" => format!("{:>2}.{}", share / 10, share % 10),
            "%cpu" | "pcpu" => format!("{:>2}.{}", process.cpu / 10, process.cpu % 10),
            "comm" | "ucmd" => format!("{:<15}", process.name()),
            "etimes" => format!("{:>7}", call.now.since(process.started).as_secs()),
            "args" | "cmd" | "command" => process.command.clone(),
            _ => "-".to_owned(),
        }
    };
    let mut out = String::new();
    if !call.has_long("--no-headers") && !call.has_long("--no-heading") {
        out = columns
            .iter()
            .map(|name| format!("{:<8}", name.to_uppercase()))
            .collect::<String>()
            + "\n";
    }
    for process in list {
        let row: Vec<String> = columns.iter().map(|column| cell(process, column)).collect();
        out.push_str(&format!("{}\n", row.join(" ")));
    }
    out
}

pub(super) fn top(call: &mut Call<'_>) -> Reply {
    if !call.has('b') {
        return Reply::fail(1, "top: failed tty get");
    }
    let key = call.value(&["-o"]).unwrap_or("%CPU").to_owned();
    let list = sorted(call, &key);
    let memory = call.state.guest.memory(call.now);
    let mib = |bytes: u64| format!("{:>8.1}", bytes as f64 / 1_048_576.0);
    let mut out = format!("top - {}", uptime_line(call));
    out.push_str(&format!(
        "Tasks: {:>3} total,   1 running, {:>3} sleeping,   0 stopped,   0 zombie\n",
        list.len(),
        list.len() - 1
    ));
    out.push_str(&format!(
        "MiB Mem : {} total, {} free, {} used, {} buff/cache\nMiB Swap: {} total, {} free, {} used. {} avail Mem\n\n",
        mib(memory.total), mib(memory.free), mib(memory.used), mib(memory.cache),
        mib(memory.swap_total), mib(memory.swap_total - memory.swap_used), mib(memory.swap_used), mib(memory.available)
    ));
    out.push_str(
        "    PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND\n",
    );
    for process in list {
        let (kib, share) = (process.resident(call.now) >> 10, share(&process, call));
        out.push_str(&format!(
            "{:>7} {:<9} 20   0 {:>7} {:>6} {:>6} S {:>3}.{} {:>3}.{} {:>9} {}\n",
            process.pid,
            process.user,
            kib + 21_000,
            kib,
            kib.min(4_096),
            process.cpu / 10,
            process.cpu % 10,
            share / 10,
            share % 10,
            format!("{}.00", cpu_time(&process, call.now)),
            process.name()
        ));
    }
    Reply::out(out)
}

pub(super) fn kill(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    let by_force = by_force(call);
    for word in call.operands(&["-s", "--signal"]) {
        match word.parse() {
            Ok(pid) => end(call, pid, by_force, &mut reply),
            Err(_) => reply.complain(format_args!("kill: {word}: arguments must be process IDs")),
        }
    }
    reply
}

fn by_force(call: &Call<'_>) -> bool {
    call.args
        .iter()
        .any(|word| ["-9", "-KILL", "-SIGKILL", "KILL"].contains(&word.as_str()))
}

fn end(call: &mut Call<'_>, pid: u32, by_force: bool, reply: &mut Reply) {
    let Some(process) = call.state.guest.processes.get(pid) else {
        return reply.complain(format_args!("kill: ({pid}) - No such process"));
    };
    if call.user != "root" && process.user != call.user {
        return reply.complain(format_args!("kill: ({pid}) - Operation not permitted"));
    }
    // Init and the kernel's threads take no signal that would end them.
    if pid > 4 && !(call.has('0')) {
        call.state.guest.kill(pid, by_force, call.now);
    }
}

/// Processes whose name, or with `-f` whole command, holds `pattern`.
fn found(call: &Call<'_>, pattern: &str) -> Vec<Process> {
    let holds = |process: &&Process| {
        let text = if call.has('f') {
            process.command.as_str()
        } else {
            process.name()
        };
        if call.has('x') {
            text == pattern
        } else {
            text.contains(pattern)
        }
    };
    call.state
        .guest
        .processes
        .all()
        .iter()
        .filter(holds)
        .cloned()
        .collect()
}

pub(super) fn pgrep(call: &mut Call<'_>) -> Reply {
    let Some(pattern) = call.operands(&["-u"]).first().cloned() else {
        return Reply::fail(2, "pgrep: no matching criteria specified");
    };
    let list = found(call, &pattern);
    let show = |process: &Process| match (call.has('a'), call.has('l')) {
        (true, _) => format!("{} {}\n", process.pid, process.command),
        (_, true) => format!("{} {}\n", process.pid, process.name()),
        _ => format!("{}\n", process.pid),
    };
    Reply {
        out: list.iter().map(show).collect(),
        code: u8::from(list.is_empty()),
        ..Reply::default()
    }
}

pub(super) fn pkill(call: &mut Call<'_>) -> Reply {
    let Some(pattern) = call.operands(&["-u", "-s"]).first().cloned() else {
        return Reply::fail(2, "pkill: no matching criteria specified");
    };
    let list = found(call, &pattern);
    let mut reply = Reply {
        code: u8::from(list.is_empty()),
        ..Reply::default()
    };
    let by_force = by_force(call);
    for process in list {
        end(call, process.pid, by_force, &mut reply);
    }
    reply
}
