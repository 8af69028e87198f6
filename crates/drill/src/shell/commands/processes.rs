//! `ps`, `top`, `kill` and their relatives.

use super::call::Call;
use super::system::uptime_line;
use super::units::percent;
use crate::machine::Process;
use crate::shell::reply::Reply;

/// A column: its name, another name, its heading, its width (negative: aligned to the left).
type Column = (&'static str, &'static str, &'static str, isize);

const COLUMNS: [Column; 22] = [
    ("pid", "pid", "PID", 7),
    ("ppid", "ppid", "PPID", 7),
    ("user", "uid", "USER", -8),
    ("%cpu", "pcpu", "%CPU", 4),
    ("%mem", "pmem", "%MEM", 4),
    ("vsz", "vsize", "VSZ", 6),
    ("virt", "virt", "VIRT", 7),
    ("rss", "rssize", "RSS", 5),
    ("res", "res", "RES", 6),
    ("shr", "shr", "SHR", 6),
    ("pr", "pri", "PR", 3),
    ("ni", "nice", "NI", 3),
    ("tty", "tt", "TTY", -8),
    ("stat", "stat", "STAT", -4),
    ("s", "state", "S", -1),
    ("start", "stime", "START", -5),
    ("bsdtime", "bsdtime", "TIME", 6),
    ("time", "cputime", "TIME", 8),
    ("etimes", "etimes", "ELAPSED", 7),
    ("ucmd", "ucmd", "CMD", -1),
    ("comm", "comm", "COMMAND", -15),
    ("args", "cmd", "COMMAND", -1),
];
const SHORT: &str = "pid,tty,time,ucmd";
const LONG: &str = "user,pid,%cpu,%mem,vsz,rss,tty,stat,start,bsdtime,args";
const TOP: &str = "pid,user,pr,ni,virt,res,shr,s,%cpu,%mem,bsdtime,comm";

/// The process table, sorted by `key`.
fn sorted(call: &Call<'_>, key: &str) -> Vec<Process> {
    let mut list = call.state.guest.processes.all().to_vec();
    match key.trim_start_matches(['-', '+']).to_lowercase().as_str() {
        "%mem" | "rss" | "pmem" | "res" => {
            list.sort_by_key(|process| std::cmp::Reverse(process.resident(call.now)));
        }
        "%cpu" | "pcpu" => list.sort_by_key(|process| std::cmp::Reverse(process.cpu)),
        _ => {}
    }
    list
}

/// The columns `format` of the processes in `list`.
fn table(call: &Call<'_>, format: &str, list: &[Process], headings: bool) -> String {
    let names = format.split(',').map(|name| name.trim_end_matches('='));
    let column = |name| {
        COLUMNS
            .iter()
            .find(|column| column.0 == name || column.1 == name)
    };
    let columns: Vec<&Column> = names.filter_map(column).collect();
    let row = |cell: &dyn Fn(&Column) -> String| {
        let cells = columns.iter().map(|column| pad(&cell(column), column.3));
        let cells: Vec<String> = cells.collect();
        format!("{}\n", cells.join(" ").trim_end())
    };
    let mut out = String::new();
    if headings {
        out = row(&|column| column.2.to_owned());
    }
    for process in list {
        out.push_str(&row(&|column| cell(call, process, column.0)));
    }
    out
}

fn pad(cell: &str, width: isize) -> String {
    let size = width.unsigned_abs();
    if width < 0 {
        format!("{cell:<size$}")
    } else {
        format!("{cell:>size$}")
    }
}

fn cell(call: &Call<'_>, process: &Process, column: &str) -> String {
    let resident = process.resident(call.now);
    let kib = resident >> 10;
    let elapsed = call.now.since(process.started).as_secs();
    let cpu = elapsed * u64::from(process.cpu) / 1000;
    let state = if process.is_kernel_thread() {
        "I"
    } else {
        "Ss"
    };
    match column {
        "pid" => process.pid.to_string(),
        "ppid" => process.ppid.to_string(),
        "user" => process.user.clone(),
        "%cpu" => percent(process.cpu.into()),
        "%mem" => percent(resident * 1000 / call.state.guest.memory(call.now).total),
        "vsz" | "virt" if kib == 0 => "0".to_owned(),
        "vsz" | "virt" => (kib + 21_000).to_string(),
        "rss" | "res" => kib.to_string(),
        "shr" => kib.min(4_096).to_string(),
        "pr" => "20".to_owned(),
        "ni" => "0".to_owned(),
        "tty" => "?".to_owned(),
        "stat" => state.to_owned(),
        "s" => state[..1].to_owned(),
        "start" => call.date(process.started, "%H:%M"),
        "bsdtime" => format!("{}:{:02}", cpu / 60, cpu % 60),
        "time" => format!("{:02}:{:02}:{:02}", cpu / 3600, cpu / 60 % 60, cpu % 60),
        "etimes" => elapsed.to_string(),
        "comm" | "ucmd" => process.name().to_owned(),
        _ => process.command.clone(),
    }
}

pub(super) fn ps(call: &mut Call<'_>) -> Reply {
    let list = sorted(call, call.value(&["--sort"]).unwrap_or_default());
    let mut words = call.args.iter().filter(|word| !word.starts_with("--"));
    let format = match call.value(&["-eo", "-Ao", "-axo", "-o", "axo", "--format"]) {
        Some(format) => format,
        None if words.any(|word| word.contains(['u', 'f'])) => LONG,
        None => SHORT,
    };
    let headings = !call.has_long("--no-headers") && !call.has_long("--no-heading");
    Reply::out(table(call, format, &list, headings))
}

pub(super) fn top(call: &mut Call<'_>) -> Reply {
    if !call.has('b') {
        return Reply::fail(1, "top: failed tty get");
    }
    let list = sorted(call, call.value(&["-o"]).unwrap_or("%cpu"));
    let memory = call.state.guest.memory(call.now);
    let (tasks, sleeping) = (list.len(), list.len() - 1);
    let [total, free, used, cache] =
        [memory.total, memory.free, memory.used, memory.cache].map(mib);
    let swap_free = memory.swap_total - memory.swap_used;
    let [swap, swap_free, swap_used] = [memory.swap_total, swap_free, memory.swap_used].map(mib);
    let available = mib(memory.available);
    Reply::out(format!(
        "top - {}\
         Tasks: {tasks:>3} total,   1 running, {sleeping:>3} sleeping,   0 stopped,   0 zombie\n\
         MiB Mem : {total} total, {free} free, {used} used, {cache} buff/cache\n\
         MiB Swap: {swap} total, {swap_free} free, {swap_used} used. {available} avail Mem\n\n{}",
        uptime_line(call),
        table(call, TOP, &list, true)
    ))
}

fn mib(bytes: u64) -> String {
    format!("{:>8.1}", bytes as f64 / 1_048_576.0)
}

pub(super) fn kill(call: &mut Call<'_>) -> Reply {
    call.each(|call, word| match word.parse() {
        Ok(pid) => signal(call, pid),
        Err(_) => Err(format!("kill: {word}: arguments must be process IDs")),
    })
}

fn signal(call: &mut Call<'_>, pid: u32) -> Result<String, String> {
    let Some(process) = call.state.guest.processes.get(pid) else {
        return Err(format!("kill: ({pid}) - No such process"));
    };
    if !call.is_root() && process.user != call.user {
        return Err(format!("kill: ({pid}) - Operation not permitted"));
    }
    let forced = ["-9", "-KILL", "-SIGKILL", "KILL"];
    let by_force = call.args.iter().any(|word| forced.contains(&word.as_str()));
    // Init and the kernel's threads ignore every signal that would end them.
    if pid > 4 && !call.has('0') {
        call.state.guest.kill(pid, by_force, call.now);
    }
    Ok(String::new())
}

/// `pgrep` and `pkill`: prints or signals the processes whose name or command matches.
pub(super) fn by_name(call: &mut Call<'_>) -> Reply {
    let Some(pattern) = call.operands.first() else {
        return Reply::fail(
            2,
            format_args!("{}: no matching criteria specified", call.name),
        );
    };
    let is_match = |process: &&Process| {
        let whole = process.command.as_str();
        let text = if call.has('f') { whole } else { process.name() };
        text == pattern || (text.contains(pattern) && !call.has('x'))
    };
    let all = call.state.guest.processes.all().iter();
    let list: Vec<Process> = all.filter(is_match).cloned().collect();
    let mut reply = Reply::code(list.is_empty());
    for process in list {
        reply.add(match () {
            () if call.name == "pkill" => signal(call, process.pid),
            () if call.has('a') => Ok(format!("{} {}\n", process.pid, process.command)),
            () if call.has('l') => Ok(format!("{} {}\n", process.pid, process.name())),
            () => Ok(format!("{}\n", process.pid)),
        });
    }
    reply
}
