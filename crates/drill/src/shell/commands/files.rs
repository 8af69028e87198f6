//! Programs that list and change files.

use super::call::Call;
use super::units::bytes;
use crate::machine::{DiskError, Node};
use crate::shell::reply::Reply;

pub(super) fn ls(call: &mut Call<'_>) -> Reply {
    if call.operands.is_empty() {
        call.operands.push(".".to_owned());
    }
    let with_names = call.operands.len() > 1;
    let reply = call.each(|call, operand| {
        let path = call.path(operand);
        match call.state.guest.disk.get(&path) {
            Err(error) => Err(format!("ls: cannot access '{operand}': {error}")),
            Ok(node) if !node.is_dir() || call.has('d') => Ok(entry(call, operand, node)),
            Ok(_) if with_names => Ok(format!("{operand}:\n{}", directory(call, &path))),
            Ok(_) => Ok(directory(call, &path)),
        }
    });
    reply.or_code(2)
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
    let mut listing = String::new();
    if call.has('l') {
        let total: u64 = children.iter().map(|(_, node)| node.allocated()).sum();
        listing = format!("total {}\n", call.size(total, 1 << 10));
    }
    listing.extend(children.iter().map(|(name, node)| entry(call, name, node)));
    listing
}

fn entry(call: &Call<'_>, name: &str, node: &Node) -> String {
    if !call.has('l') {
        return format!("{name}\n");
    }
    let (mode, owner, size) = (mode(node), &node.owner, call.size(node.size(), 1));
    let date = call.date(node.modified, "%b %e %H:%M");
    format!("{mode} 1 {owner:<10} {owner:<10} {size:>11} {date} {name}\n")
}

fn mode(node: &Node) -> String {
    let mut text = String::from(if node.is_dir() { "d" } else { "-" });
    for (index, letter) in "rwxrwxrwx".chars().enumerate() {
        let is_set = node.mode >> (8 - index) & 1 == 1;
        text.push(if is_set { letter } else { '-' });
    }
    text
}

pub(super) fn rm(call: &mut Call<'_>) -> Reply {
    if call.operands.is_empty() && !call.has('f') {
        return Reply::fail(1, "rm: missing operand");
    }
    call.each(|call, operand| match remove(call, operand) {
        Err(error) if error != DiskError::Missing || !call.has('f') => {
            Err(format!("rm: cannot remove '{operand}': {error}"))
        }
        _ => Ok(String::new()),
    })
}

fn remove(call: &mut Call<'_>, operand: &str) -> Result<(), DiskError> {
    let path = call.path(operand);
    let recursive = call.has('r') || call.has('R');
    let disk = &mut call.state.guest.disk;
    if disk.get(&path)?.is_dir() && !recursive {
        return Err(DiskError::IsDir);
    }
    // Even `rm -rf /` keeps the root: without it the drill would be over and nothing learned.
    if path == "/" {
        return Err(DiskError::Denied);
    }
    disk.remove(&path, call.user)
}

pub(super) fn truncate(call: &mut Call<'_>) -> Reply {
    let Some(size) = call.value(&["--size", "-s"]).and_then(bytes) else {
        return Reply::fail(1, "truncate: you must specify '--size'");
    };
    call.each(|call, operand| {
        let path = call.path(operand);
        let disk = &mut call.state.guest.disk;
        disk.truncate(&path, size, call.user, call.now)
            .map(|()| String::new())
            .map_err(|error| format!("truncate: cannot open '{operand}' for writing: {error}"))
    })
}

pub(super) fn mkdir(call: &mut Call<'_>) -> Reply {
    let with_parents = call.has('p');
    call.each(|call, operand| {
        let path = call.path(operand);
        let disk = &mut call.state.guest.disk;
        disk.make_dir(&path, with_parents, call.user, call.now)
            .map(|()| String::new())
            .map_err(|error| format!("mkdir: cannot create directory '{operand}': {error}"))
    })
}
