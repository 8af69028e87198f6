//! `find`, with the tests and actions that a search for space needs.

use std::cmp::Ordering;

use super::call::Call;
use super::units::bytes;
use crate::machine::{Node, depth};
use crate::shell::expand::matches;
use crate::shell::reply::Reply;

/// The actions of one `find`, and its tests, all of which must pass.
#[derive(Default)]
struct Plan {
    tests: Vec<Test>,
    deletes: bool,
}

enum Test {
    IsDir(bool),
    Name(String),
    Bytes(Range),
    MaxDepth(usize),
}

/// `+5M`, `-5M` or `5M`: more, less or exactly so many bytes.
struct Range(Ordering, u64);

impl Range {
    fn parse(word: &str) -> Option<Range> {
        let order = match word.chars().next() {
            Some('+') => Ordering::Greater,
            Some('-') => Ordering::Less,
            _ => Ordering::Equal,
        };
        let size = word.trim_start_matches(['+', '-']);
        // Without a unit `find` counts blocks of 512 bytes.
        let has_unit = size.ends_with(|c: char| c.is_ascii_alphabetic());
        let unit = if has_unit { 1 } else { 512 };
        Some(Range(order, bytes(size)?.checked_mul(unit)?))
    }

    fn contains(&self, value: u64) -> bool {
        value.cmp(&self.1) == self.0
    }
}

impl Plan {
    /// Parses tests and actions; the error is the word that is not understood.
    fn parse(words: &[String]) -> Result<Plan, String> {
        let mut plan = Plan::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-xdev" | "-mount" | "-print" => {}
                "-delete" => plan.deletes = true,
                _ => {
                    let test = words.next().and_then(|value| Test::parse(word, value));
                    plan.tests.push(test.ok_or_else(|| word.clone())?);
                }
            }
        }
        Ok(plan)
    }
}

impl Test {
    fn parse(name: &str, value: &str) -> Option<Test> {
        Some(match name {
            "-type" => Test::IsDir(value == "d"),
            "-name" => Test::Name(value.to_owned()),
            "-maxdepth" => Test::MaxDepth(value.parse().ok()?),
            "-size" => Test::Bytes(Range::parse(value)?),
            _ => return None,
        })
    }

    fn passes(&self, name: &str, node: &Node, level: usize) -> bool {
        match self {
            Test::IsDir(wanted) => node.is_dir() == *wanted,
            Test::Name(pattern) => matches(pattern, name.rsplit('/').next().unwrap_or_default()),
            Test::Bytes(range) => range.contains(node.size()),
            Test::MaxDepth(max) => level <= *max,
        }
    }
}

pub(super) fn find(call: &mut Call<'_>) -> Reply {
    let first_test = call.args.iter().position(|word| word.starts_with('-'));
    let (roots, tests) = call.args.split_at(first_test.unwrap_or(call.args.len()));
    let plan = match Plan::parse(tests) {
        Ok(plan) => plan,
        Err(word) => return Reply::fail(1, format_args!("find: unknown predicate `{word}'")),
    };
    call.operands = roots.to_vec();
    if roots.is_empty() {
        call.operands.push(".".to_owned());
    }
    let mut found = Vec::new();
    let mut reply = call.each(|call, root| {
        let path = call.path(root);
        let disk = &call.state.guest.disk;
        let exists = disk.get(&path).map(|_| String::new());
        for (name, node) in disk.walk(&path) {
            let level = depth(name) - depth(&path);
            let mut tests = plan.tests.iter();
            if tests.all(|test| test.passes(name, node, level)) {
                found.push(name.to_owned());
            }
        }
        exists.map_err(|error| format!("find: '{root}': {error}"))
    });
    for name in found {
        reply.add(act(call, &plan, &name));
    }
    reply
}

fn act(call: &mut Call<'_>, plan: &Plan, name: &str) -> Result<String, String> {
    if plan.deletes {
        let removed = call.state.guest.disk.remove(name, call.user);
        removed.map_err(|error| format!("find: cannot delete '{name}': {error}"))?;
        return Ok(String::new());
    }
    Ok(format!("{name}\n"))
}
