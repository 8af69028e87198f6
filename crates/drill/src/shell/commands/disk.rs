use super::{Call, Reply, human};
use crate::machine::State;

/// One line of `df`.
struct Mounted {
    source: &'static str,
    kind: &'static str,
    total: u64,
    used: u64,
    inodes: (u64, u64),
    on: &'static str,
}

fn mounts(state: &State) -> [Mounted; 4] {
    let disk = &state.guest.disk;
    let tmpfs = |source, kind, mebibytes: u64, used, on| Mounted {
        source,
        kind,
        total: mebibytes << 20,
        used,
        inodes: (502_000, 540),
        on,
    };
    [
        tmpfs("udev", "devtmpfs", 1_956, 0, "/dev"),
        tmpfs("tmpfs", "tmpfs", 392, 560 << 10, "/run"),
        Mounted {
            source: "/dev/vda1",
            kind: "ext4",
            total: disk.total(),
            used: disk.used(),
            inodes: (2_621_440, 71_000 + disk.count() as u64),
            on: "/",
        },
        tmpfs("tmpfs", "tmpfs", 1_957, 0, "/dev/shm"),
    ]
}

pub(super) fn df(call: &mut Call<'_>) -> Reply {
    let operands = call.operands(&["-x", "-t", "-B", "--exclude-type"]);
    if let Some(missing) = operands
        .iter()
        .find(|path| call.state.guest.disk.get(&call.path(path)).is_err())
    {
        return Reply::fail(1, format!("df: {missing}: No such file or directory"));
    }
    let excluded = call
        .value(&["-x", "--exclude-type"])
        .unwrap_or_default()
        .to_owned();
    let only_root = !operands.is_empty();
    let mut lines = vec![header(call)];
    for mounted in mounts(call.state) {
        let wanted = if only_root {
            mounted.on == "/"
        } else {
            mounted.kind != excluded
        };
        if wanted {
            lines.push(row(call, &mounted));
        }
    }
    Reply::out(lines.concat())
}

fn header(call: &Call<'_>) -> String {
    let kind = if call.has('T') { "Type     " } else { "" };
    if call.has('i') {
        return format!("Filesystem      {kind} Inodes  IUsed   IFree IUse% Mounted on\n");
    }
    if call.has('h') {
        return format!("Filesystem      {kind}Size  Used Avail Use% Mounted on\n");
    }
    let (size, percent) = if call.has('P') {
        ("1024-blocks", "Capacity")
    } else {
        ("1K-blocks", "Use%")
    };
    format!("Filesystem     {kind} {size:>11}     Used Available {percent} Mounted on\n")
}

fn row(call: &Call<'_>, mounted: &Mounted) -> String {
    let Mounted {
        source,
        total,
        used,
        on,
        ..
    } = mounted;
    let kind = if call.has('T') {
        format!("{:<9}", mounted.kind)
    } else {
        String::new()
    };
    let percent = (used * 100).div_ceil(*total);
    let free = total - used;
    if call.has('i') {
        let (inodes, taken) = mounted.inodes;
        let share = taken * 100 / inodes;
        return format!(
            "{source:<15} {kind}{inodes:>7} {taken:>6} {:>7} {share:>4}% {on}\n",
            inodes - taken
        );
    }
    if call.has('h') {
        return format!(
            "{source:<15} {kind}{:>4} {:>5} {:>5} {percent:>3}% {on}\n",
            human(*total),
            human(*used),
            human(free)
        );
    }
    let unit = if call.has('m') { 20 } else { 10 };
    let width = if call.has('P') { 8 } else { 4 };
    format!(
        "{source:<15}{kind} {:>11} {:>8} {:>9} {:>width$} {on}\n",
        total >> unit,
        used >> unit,
        free >> unit,
        format!("{percent}%")
    )
}

/// How `du` prints a size, by its options.
fn du_size(call: &Call<'_>, bytes: u64) -> String {
    if call.has('h') {
        human(bytes)
    } else if call.has('b') {
        bytes.to_string()
    } else {
        bytes
            .div_ceil(if call.has('m') { 1 << 20 } else { 1 << 10 })
            .to_string()
    }
}

pub(super) fn du(call: &mut Call<'_>) -> Reply {
    let valued = ["-d", "--max-depth", "--exclude", "-t", "--threshold"];
    let mut roots = call.operands(&valued);
    if roots.is_empty() {
        roots.push(".".to_owned());
    }
    let depth = match call
        .value(&["--max-depth", "-d"])
        .and_then(|word| word.parse().ok())
    {
        Some(depth) => depth,
        None if call.has('s') || call.has_long("--summarize") => 0,
        None => usize::MAX,
    };
    let mut reply = Reply::default();
    let mut total = 0;
    for root in &roots {
        let path = call.path(root);
        let disk = &call.state.guest.disk;
        if let Err(error) = disk.get(&path) {
            reply.complain(format_args!("du: cannot access '{root}': {error}"));
            continue;
        }
        total += disk.usage(&path);
        for (name, bytes) in below(call, &path, depth) {
            let shown = match name.strip_prefix(&path) {
                Some(rest) if !root.starts_with('/') => format!("{root}{rest}"),
                _ => name,
            };
            reply
                .out
                .push_str(&format!("{}\t{shown}\n", du_size(call, bytes)));
        }
    }
    if call.has('c') {
        reply
            .out
            .push_str(&format!("{}\ttotal\n", du_size(call, total)));
    }
    reply
}

/// What `du` prints below `path`, deepest first: directories, with `-a` files too.
fn below(call: &Call<'_>, path: &str, depth: usize) -> Vec<(String, u64)> {
    let disk = &call.state.guest.disk;
    let base = path.trim_end_matches('/').matches('/').count();
    let mut rows = Vec::new();
    for (name, node) in disk.walk(path) {
        let level = name
            .trim_end_matches('/')
            .matches('/')
            .count()
            .saturating_sub(base);
        let shown = name == path || node.is_dir() || call.has('a');
        if shown && level <= depth {
            rows.push((name.to_owned(), disk.usage(name)));
        }
    }
    rows.reverse();
    rows
}

pub(super) fn lsblk(call: &mut Call<'_>) -> Reply {
    let size = human(call.state.guest.disk.total());
    Reply::out(format!(
        "NAME   MAJ:MIN RM  SIZE RO TYPE MOUNTPOINTS\nvda    254:0    0   40G  0 disk \n└─vda1 254:1    0 {size:>4}  0 part /\n"
    ))
}

pub(super) fn mount(call: &mut Call<'_>) -> Reply {
    if !call.operands(&["-o", "-t"]).is_empty() {
        return Reply::fail(1, "mount: this drill's guest mounts nothing further");
    }
    Reply::out(
        "udev on /dev type devtmpfs (rw,nosuid,relatime,size=2002944k,mode=755)\n\
         tmpfs on /run type tmpfs (rw,nosuid,nodev,noexec,relatime,size=401408k,mode=755)\n\
         /dev/vda1 on / type ext4 (rw,relatime,errors=remount-ro)\n\
         tmpfs on /dev/shm type tmpfs (rw,nosuid,nodev)\n",
    )
}
