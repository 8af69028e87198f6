//! Programs that print facts about the machine and the user, and those of the shell itself.

use super::call::Call;
use super::proc_files::load;
use super::units::seconds;
use crate::machine::Node;
use crate::shell::reply::Reply;

const RELEASE: &str = "6.1.0-28-cloud-amd64";

pub(super) fn sleep(call: &mut Call<'_>) -> Reply {
    match call.args.first().and_then(|word| seconds(word)) {
        Some(duration) => Reply::default().with_duration(duration),
        None => Reply::fail(1, "sleep: invalid time interval"),
    }
}

pub(super) fn id(call: &mut Call<'_>) -> Reply {
    let user = call.user;
    let (uid, more) = if call.is_root() {
        (0, "")
    } else {
        (1000, ",4(adm),27(sudo)")
    };
    Reply::out(if call.has('u') {
        format!("{uid}\n")
    } else {
        format!("uid={uid}({user}) gid={uid}({user}) groups={uid}({user}){more}\n")
    })
}

pub(super) fn uname(call: &mut Call<'_>) -> Reply {
    let all = format!(
        "Linux devvm {RELEASE} #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22) x86_64 GNU/Linux"
    );
    let parts = [
        ('a', all.as_str()),
        ('r', RELEASE),
        ('m', "x86_64"),
        ('n', "devvm"),
    ];
    let part = parts.iter().find(|(letter, _)| call.has(*letter));
    Reply::out(format!("{}\n", part.map_or("Linux", |(_, text)| text)))
}

/// `test` and `[`: files and strings.
pub(super) fn test(call: &mut Call<'_>) -> Reply {
    let words = call.args.iter().map(String::as_str);
    let words: Vec<&str> = words.filter(|word| *word != "]").collect();
    let (negated, words) = match words.as_slice() {
        ["!", rest @ ..] => (true, rest),
        words => (false, words),
    };
    let node = |path: &str| call.state.guest.disk.get(&call.path(path)).ok();
    let number = |word: &str| word.parse::<i64>().ok();
    let truth = match words {
        ["-e", path] => node(path).is_some(),
        ["-f", path] => node(path).is_some_and(|node| !node.is_dir()),
        ["-d", path] => node(path).is_some_and(Node::is_dir),
        ["-s", path] => node(path).is_some_and(|node| node.size() > 0),
        ["-z", word] => word.is_empty(),
        ["-n", word] | [word] => !word.is_empty(),
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, "-eq", b] => number(a) == number(b),
        [a, "-gt", b] => number(a) > number(b),
        [a, "-lt", b] => number(a) < number(b),
        [] => false,
        _ => return Reply::fail(2, format_args!("sh: 1: {}: unexpected operator", call.name)),
    };
    Reply::code(truth == negated)
}

pub(super) fn free(call: &mut Call<'_>) -> Reply {
    let memory = call.state.guest.memory(call.now);
    let cell = |bytes: u64| match call.size(bytes, 1 << 10) {
        size if !call.has('h') => format!("{size:>12}"),
        _ if bytes == 0 => format!("{:>12}", "0B"),
        size => format!("{:>12}", size + "i"),
    };
    let row = |cells: &[u64]| cells.iter().map(|bytes| cell(*bytes)).collect::<String>();
    let swap_free = memory.swap_total - memory.swap_used;
    let shared = 1 << 20;
    let main = [
        memory.total,
        memory.used,
        memory.free,
        shared,
        memory.cache,
        memory.available,
    ];
    let swap = [memory.swap_total, memory.swap_used, swap_free];
    Reply::out(format!(
        "               total        used        free      shared  buff/cache   available\nMem:    {}\nSwap:   {}\n",
        row(&main),
        row(&swap)
    ))
}

/// The line that `uptime` and `top` share.
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
    let time = call.date(call.now, "%H:%M:%S");
    let load = load(call.state, call.now);
    format!("{time} up {days}{clock},  1 user,  load average: {load}\n")
}

pub(super) fn uptime(call: &mut Call<'_>) -> Reply {
    Reply::out(if call.has('s') {
        call.date(call.state.guest.booted, "%Y-%m-%d %H:%M:%S\n")
    } else {
        format!(" {}", uptime_line(call))
    })
}

pub(super) fn date(call: &mut Call<'_>) -> Reply {
    let format = match call.args.iter().find_map(|word| word.strip_prefix('+')) {
        Some(format) => format.replace("%N", "000000000"),
        None if call.has('I') => "%Y-%m-%d".to_owned(),
        None => "%a %b %e %H:%M:%S UTC %Y".to_owned(),
    };
    match jiff::fmt::strtime::format(&format, call.clock.date(call.now)) {
        Ok(text) => Reply::out(format!("{text}\n")),
        Err(_) => Reply::fail(1, format_args!("date: invalid format '{format}'")),
    }
}
