//! Settings from environment variables, which override the file: `BREAKGLASS_AUTH__TOKEN_FILE` is `auth.token_file`,
//! `BREAKGLASS_TARGETS__0__GUEST__HOST` is the first target's guest address.

use std::ffi::{OsStr, OsString};

use super::error::{Origin, Problems};
use super::tree::{Node, Table, Value};

const PREFIX: &str = "BREAKGLASS_";

/// Variables with the prefix that are no settings: options of the command line and of the logger.
pub(crate) const RESERVED: [&str; 5] = [
    "BREAKGLASS_CONFIG",
    "BREAKGLASS_LOG",
    "BREAKGLASS_SERVER",
    "BREAKGLASS_TARGET",
    "BREAKGLASS_TOKEN_FILE",
];

/// Applies every `BREAKGLASS_…` variable to the settings of the file, in the order of the names.
pub(crate) fn overlay(
    table: &mut Table,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Problems,
) {
    let mut settings: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((setting_name(&name)?, value)))
        .collect();
    settings.sort();
    for (name, value) in settings {
        let origin = Origin::Variable(name.clone());
        let Ok(text) = value.into_string() else {
            problems.error(&origin, &name, "is not UTF-8", "set it to plain text");
            continue;
        };
        if is_service_link(&name, &text) {
            continue;
        }
        let path: Vec<String> = name[PREFIX.len()..]
            .split("__")
            .map(str::to_ascii_lowercase)
            .collect();
        let leaf = Node {
            value: Value::Text(text),
            origin: origin.clone(),
        };
        if !insert(table, &path, leaf) {
            let remedy = "number list entries from 0 without gaps, as in BREAKGLASS_TARGETS__0__NAME, and \
                          set the keys of a section one by one";
            problems.error(&origin, &path.join("."), "does not name a setting", remedy);
        }
    }
}

fn setting_name(name: &OsStr) -> Option<String> {
    let name = name.to_str()?;
    (name.starts_with(PREFIX) && !RESERVED.contains(&name)).then(|| name.to_owned())
}

/// Whether Kubernetes set this variable. It gives every pod variables for each service of its namespace; for
/// a service named `breakglass` they start with our prefix: `BREAKGLASS_SERVICE_HOST`, `BREAKGLASS_PORT=tcp://…`,
/// `BREAKGLASS_PORT_8080_TCP_ADDR`. No setting has such a name.
fn is_service_link(name: &str, value: &str) -> bool {
    let has_port = |part: &str| part.starts_with(|first: char| first.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && (value.starts_with("tcp://") || value.starts_with("udp://")))
        || name.split_once("_PORT_").is_some_and(|(_, rest)| {
            has_port(rest) && (rest.contains("_TCP") || rest.contains("_UDP"))
        })
}

/// Inserts `leaf` at `path`. Returns whether the path names a setting.
fn insert(table: &mut Table, path: &[String], leaf: Node) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    if rest.is_empty() {
        let replaces_section = table
            .get(first)
            .is_some_and(|node| matches!(node.value, Value::Table(_)));
        if !replaces_section {
            table.insert(first.clone(), leaf);
        }
        return !replaces_section;
    }
    let origin = leaf.origin.clone();
    let numbered = rest[0].bytes().all(|byte| byte.is_ascii_digit());
    let empty = if numbered {
        Value::List(Vec::new())
    } else {
        Value::Table(Table::new())
    };
    let node = table.entry(first.clone()).or_insert(Node {
        value: empty,
        origin,
    });
    match &mut node.value {
        Value::Table(inner) => insert(inner, rest, leaf),
        Value::List(items) => insert_item(items, rest, leaf),
        _ => false,
    }
}

fn insert_item(items: &mut Vec<Node>, path: &[String], leaf: Node) -> bool {
    let Some((index, rest)) = path.split_first() else {
        return false;
    };
    let Ok(index) = index.parse::<usize>() else {
        return false;
    };
    if index > items.len() {
        return false;
    }
    if index == items.len() {
        items.push(Node {
            value: Value::Table(Table::new()),
            origin: leaf.origin.clone(),
        });
    }
    if rest.is_empty() {
        items[index] = leaf;
        return true;
    }
    match &mut items[index].value {
        Value::Table(inner) => insert(inner, rest, leaf),
        _ => false,
    }
}
