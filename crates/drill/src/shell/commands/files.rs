use super::{Call, Reply, human};
use crate::machine::{DiskError, Node, parent};

pub(super) fn ls(call: &mut Call<'_>) -> Reply {
    let mut operands = call.operands(&[]);
    if operands.is_empty() {
        operands.push(".".to_owned());
    }
    let mut reply = Reply::default();
    let several = operands.len() > 1;
    for operand in &operands {
        let path = call.path(operand);
        match call.state.guest.disk.get(&path) {
            Err(error) => {
                reply.complain(format_args!("ls: cannot access '{operand}': {error}"));
                reply.code = 2;
            }
            Ok(node) if node.is_dir() && !call.has('d') => {
                if several {
                    reply.out.push_str(&format!("{operand}:\n"));
                }
                reply.out.push_str(&directory(call, &path));
            }
            Ok(node) => reply.out.push_str(&entry(call, operand, node)),
        }
    }
    reply
}

fn directory(call: &Call<'_>, path: &str) -> String {
    let mut children = call.state.guest.disk.children(path);
    children.retain(|(name, _)| call.has('a') || !name.starts_with('.'));
    if call.has('S') {
        children.sort_by_key(|(_, node)| std::cmp::Reverse(node.size()));
    } else if call.has('t') {
        children.sort_by_key(|(_, node)| std::cmp::Reverse(node.modified));
    }
    if call.has('r') {
        children.reverse();
    }
    let blocks: u64 = children.iter().map(|(_, node)| node.allocated()).sum();
    let total = if call.has('h') {
        human(blocks)
    } else {
        (blocks >> 10).to_string()
    };
    let head = if call.has('l') {
        format!("total {total}\n")
    } else {
        String::new()
    };
    head + &children
        .iter()
        .map(|(name, node)| entry(call, name, node))
        .collect::<String>()
}

fn entry(call: &Call<'_>, name: &str, node: &Node) -> String {
    if !call.has('l') {
        return format!("{name}\n");
    }
    let size = if call.has('h') {
        human(node.size())
    } else {
        node.size().to_string()
    };
    let date = call.clock.date(node.modified).strftime("%b %e %H:%M");
    let owner = &node.owner;
    format!(
        "{} 1 {owner:<10} {owner:<10} {size:>11} {date} {name}\n",
        mode(node)
    )
}

fn mode(node: &Node) -> String {
    let kind = if node.is_dir() { 'd' } else { '-' };
    let bit = |shift: u16, letter| {
        if node.mode >> shift & 1 == 1 {
            letter
        } else {
            '-'
        }
    };
    let bits = (0..9)
        .rev()
        .map(|shift| bit(shift, ['x', 'w', 'r'][usize::from(shift % 3)]));
    std::iter::once(kind).chain(bits).collect()
}

pub(super) fn stat(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    let format = call.value(&["-c", "--format"]).map(str::to_owned);
    for operand in call.operands(&["-c", "--format"]) {
        match call.state.guest.disk.get(&call.path(&operand)) {
            Err(error) => reply.complain(format_args!("stat: cannot statx '{operand}': {error}")),
            Ok(node) => {
                let size = node.size().to_string();
                reply.out.push_str(&match &format {
                    Some(format) => {
                        format!("{}\n", format.replace("%s", &size).replace("%n", &operand))
                    }
                    None => format!(
                        "  File: {operand}\n  Size: {size}\n Owner: {}\n",
                        node.owner
                    ),
                });
            }
        }
    }
    reply
}

pub(super) fn rm(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    let force = call.has('f');
    let recursive = call.has('r') || call.has('R');
    let operands = call.operands(&[]);
    if operands.is_empty() && !force {
        return Reply::fail(1, "rm: missing operand");
    }
    for operand in operands {
        match remove(call, &operand, recursive) {
            Ok(()) => {}
            Err(DiskError::Missing) if force => {}
            Err(error) => reply.complain(format_args!("rm: cannot remove '{operand}': {error}")),
        }
    }
    reply
}

fn remove(call: &mut Call<'_>, operand: &str, recursive: bool) -> Result<(), DiskError> {
    let path = call.path(operand);
    let disk = &mut call.state.guest.disk;
    if disk.get(&path)?.is_dir() && !recursive {
        return Err(DiskError::IsDir);
    }
    // Even rm -rf leaves the root: the drill would be over, and nothing learned.
    if path == "/" {
        Err(DiskError::Denied)
    } else {
        disk.remove(&path, call.user)
    }
}

pub(super) fn truncate(call: &mut Call<'_>) -> Reply {
    let Some(size) = call.value(&["--size", "-s"]).and_then(bytes) else {
        return Reply::fail(1, "truncate: you must specify '--size'");
    };
    let mut reply = Reply::default();
    for operand in call.operands(&["-s", "--size"]) {
        let path = call.path(&operand);
        if let Err(error) = call
            .state
            .guest
            .disk
            .truncate(&path, size, call.user, call.now)
        {
            reply.complain(format_args!(
                "truncate: cannot open '{operand}' for writing: {error}"
            ));
        }
    }
    reply
}

pub(super) fn mkdir(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    for operand in call.operands(&["-m"]) {
        let path = call.path(&operand);
        let mut missing = vec![path.clone()];
        while call.has('p')
            && call
                .state
                .guest
                .disk
                .get(parent(&missing[missing.len() - 1]))
                .is_err()
        {
            missing.push(parent(&missing[missing.len() - 1]).to_owned());
        }
        for dir in missing.iter().rev() {
            match call.state.guest.disk.make_dir(dir, call.user, call.now) {
                Err(DiskError::Exists) if call.has('p') => {}
                Err(error) => reply.complain(format_args!(
                    "mkdir: cannot create directory '{operand}': {error}"
                )),
                Ok(()) => {}
            }
        }
    }
    reply
}

pub(super) fn touch(call: &mut Call<'_>) -> Reply {
    let mut reply = Reply::default();
    for operand in call.operands(&["-d", "-r"]) {
        let path = call.path(&operand);
        let disk = &mut call.state.guest.disk;
        let done = if disk.get(&path).is_ok() {
            Ok(())
        } else {
            disk.write(&path, "", false, call.user, call.now)
        };
        if let Err(error) = done {
            reply.complain(format_args!("touch: cannot touch '{operand}': {error}"));
        }
    }
    reply
}

/// `0`, `10M`, `1G` in bytes.
pub(super) fn bytes(word: &str) -> Option<u64> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match word[digits.len()..]
        .chars()
        .next()
        .map(|c| c.to_ascii_uppercase())
    {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        _ => 0,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
