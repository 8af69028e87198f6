use std::time::Duration;

use super::files::bytes;
use super::{Call, Reply};
use crate::machine::{Moment, Node};
use crate::shell::expand::like;

/// One condition of `find`.
enum Condition {
    Directory(bool),
    Name(String),
    /// Bytes: more than (`+`), less than (`-`), or exactly.
    Size(char, u64),
    /// Days since the last change, likewise.
    Age(char, u64),
    Depth(usize),
}

struct Plan {
    roots: Vec<String>,
    conditions: Vec<Condition>,
    delete: bool,
    listing: bool,
}

pub(super) fn find(call: &mut Call<'_>) -> Reply {
    let plan = match plan(call.args) {
        Ok(plan) => plan,
        Err(word) => return Reply::fail(1, format!("find: unknown predicate `{word}'")),
    };
    let mut reply = Reply::default();
    for root in &plan.roots {
        let path = call.path(root);
        if let Err(error) = call.state.guest.disk.get(&path) {
            reply.complain(format_args!("find: '{root}': {error}"));
            continue;
        }
        for name in matching(call, &path, &plan.conditions) {
            act(call, &plan, &name, &mut reply);
        }
    }
    reply
}

fn act(call: &mut Call<'_>, plan: &Plan, name: &str, reply: &mut Reply) {
    if plan.delete {
        if let Err(error) = call.state.guest.disk.remove(name, call.user) {
            reply.complain(format_args!("find: cannot delete '{name}': {error}"));
        }
        return;
    }
    let Ok(node) = call.state.guest.disk.get(name) else {
        return;
    };
    reply.out.push_str(&if plan.listing {
        let date = call.clock.date(node.modified).strftime("%b %e %H:%M");
        format!(
            "{:>9} {:>8} {:<8} {:>12} {date} {name}\n",
            2_000,
            node.allocated() >> 10,
            node.owner,
            node.size()
        )
    } else {
        format!("{name}\n")
    });
}

fn plan(args: &[String]) -> Result<Plan, String> {
    let own = args
        .iter()
        .take_while(|word| !word.starts_with('-'))
        .count();
    let mut plan = Plan {
        roots: args[..own].to_vec(),
        conditions: Vec::new(),
        delete: false,
        listing: false,
    };
    if plan.roots.is_empty() {
        plan.roots.push(".".to_owned());
    }
    let mut words = args[own..].iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| word.clone());
        let condition = match word.as_str() {
            "-xdev" | "-mount" | "-print" => continue,
            "-delete" => {
                plan.delete = true;
                continue;
            }
            "-ls" => {
                plan.listing = true;
                continue;
            }
            "-type" => Condition::Directory(value()? == "d"),
            "-name" => Condition::Name(value()?.clone()),
            "-maxdepth" => Condition::Depth(value()?.parse().map_err(|_| word.clone())?),
            "-size" => size(value()?).ok_or_else(|| word.clone())?,
            "-mtime" => age(value()?).ok_or_else(|| word.clone())?,
            _ => return Err(word.clone()),
        };
        plan.conditions.push(condition);
    }
    Ok(plan)
}

fn sign(word: &str) -> (char, &str) {
    match word.chars().next() {
        Some(c @ ('+' | '-')) => (c, &word[1..]),
        _ => ('=', word),
    }
}

fn size(word: &str) -> Option<Condition> {
    let (sign, amount) = sign(word);
    // Without a unit `find` counts blocks of 512 bytes.
    let bytes = match amount.strip_suffix('c') {
        Some(bytes) => bytes.parse().ok()?,
        None if amount.ends_with(|c: char| c.is_ascii_digit()) => {
            amount.parse::<u64>().ok()?.checked_mul(512)?
        }
        None => bytes(amount)?,
    };
    Some(Condition::Size(sign, bytes))
}

fn age(word: &str) -> Option<Condition> {
    let (sign, days) = sign(word);
    Some(Condition::Age(sign, days.parse().ok()?))
}

/// Deepest first when it will delete, so the order is that of names, reversed; harmless otherwise.
fn matching(call: &Call<'_>, root: &str, conditions: &[Condition]) -> Vec<String> {
    let base = root.trim_end_matches('/').matches('/').count();
    let holds = |name: &str, node: &Node| {
        conditions
            .iter()
            .all(|c| holds(c, name, node, base, call.now))
    };
    let found = call
        .state
        .guest
        .disk
        .walk(root)
        .into_iter()
        .filter(|(name, node)| holds(name, node));
    found.map(|(name, _)| name.to_owned()).collect()
}

fn holds(condition: &Condition, name: &str, node: &Node, base: usize, now: Moment) -> bool {
    let compare = |sign: char, have: u64, want: u64| match sign {
        '+' => have > want,
        '-' => have < want,
        _ => have == want,
    };
    match condition {
        Condition::Directory(wanted) => node.is_dir() == *wanted,
        Condition::Name(pattern) => like(pattern, name.rsplit('/').next().unwrap_or_default()),
        Condition::Size(sign, bytes) => compare(*sign, node.size(), *bytes),
        Condition::Age(sign, days) => compare(
            *sign,
            now.since(node.modified).as_secs() / Duration::from_secs(86_400).as_secs(),
            *days,
        ),
        Condition::Depth(depth) => {
            name.trim_end_matches('/')
                .matches('/')
                .count()
                .saturating_sub(base)
                <= *depth
        }
    }
}
