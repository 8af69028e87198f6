//! `df` and `du`.

use super::call::Call;
use crate::machine::depth;
use crate::shell::reply::Reply;

pub(super) fn df(call: &mut Call<'_>) -> Reply {
    let disk = &call.state.guest.disk;
    let is_missing = |path: &&String| disk.get(&call.path(path)).is_err();
    if let Some(missing) = call.operands.iter().find(is_missing) {
        return Reply::fail(1, format_args!("df: {missing}: No such file or directory"));
    }
    let mounts = [
        ("udev", "devtmpfs", "/dev", 1_956 << 20, 0),
        ("tmpfs", "tmpfs", "/run", 392 << 20, 560 << 10),
        ("/dev/vda1", "ext4", "/", disk.total(), disk.used()),
        ("tmpfs", "tmpfs", "/dev/shm", 1_957 << 20, 0),
    ];
    let headings = match () {
        () if call.has('i') => ["Inodes", "IUsed", "IFree", "IUse%"],
        () if call.has('h') => ["Size", "Used", "Avail", "Use%"],
        () if call.has('P') => ["1024-blocks", "Used", "Available", "Capacity"],
        () => ["1K-blocks", "Used", "Available", "Use%"],
    };
    let titles = ["Filesystem", "Type", "Mounted on"];
    let mut out = row(call, titles, headings.map(str::to_owned));
    let excluded = call.value(&["-x", "--exclude-type"]).unwrap_or_default();
    for (source, kind, on, total, used) in mounts {
        if kind == excluded || (on != "/" && !call.operands.is_empty()) {
            continue;
        }
        let (numbers, cell): ([u64; 2], &dyn Fn(u64) -> String) = match on {
            "/" if call.has('i') => ([2_621_440, 71_000 + disk.count() as u64], &|n| {
                n.to_string()
            }),
            _ if call.has('i') => ([502_000, 540], &|n| n.to_string()),
            _ => ([total, used], &|bytes| call.size(bytes, 1 << 10)),
        };
        let [total, used] = numbers;
        let share = format!("{}%", (used * 100).div_ceil(total));
        let cells = [cell(total), cell(used), cell(total - used), share];
        out.push_str(&row(call, [source, kind, on], cells));
    }
    Reply::out(out)
}

fn row(call: &Call<'_>, [source, kind, on]: [&str; 3], cells: [String; 4]) -> String {
    let kind = call.has('T').then(|| format!(" {kind:<8}"));
    let kind = kind.unwrap_or_default();
    let [total, used, free, share] = cells;
    format!("{source:<14}{kind} {total:>11} {used:>9} {free:>9} {share:>8} {on}\n")
}

pub(super) fn du(call: &mut Call<'_>) -> Reply {
    if call.operands.is_empty() {
        call.operands.push(".".to_owned());
    }
    let summarises = call.has('s') || call.has_long("--summarize");
    let max_depth = call.number(&["--max-depth", "-d"]);
    let max_depth = max_depth.unwrap_or(if summarises { 0 } else { usize::MAX });
    let mut total = 0;
    let mut reply = call.each(|call, root| {
        let path = call.path(root);
        let disk = &call.state.guest.disk;
        disk.get(&path)
            .map_err(|error| format!("du: cannot access '{root}': {error}"))?;
        total += disk.usage(&path);
        let mut rows = Vec::new();
        for (name, node) in disk.walk(&path) {
            let is_shown = name == path || node.is_dir() || call.has('a');
            if is_shown && depth(name) - depth(&path) <= max_depth {
                let relative = name.strip_prefix(&path).filter(|_| !root.starts_with('/'));
                let shown = relative.map_or(name.to_owned(), |rest| format!("{root}{rest}"));
                rows.push(du_row(call, disk.usage(name), &shown));
            }
        }
        // Deepest first.
        rows.reverse();
        Ok(rows.concat())
    });
    if call.has('c') {
        reply.add(Ok(du_row(call, total, "total")));
    }
    reply
}

fn du_row(call: &Call<'_>, bytes: u64, name: &str) -> String {
    format!("{}\t{name}\n", call.size(bytes, 1 << 10))
}
