//! Keys of earlier versions. A retired key is removed with a warning, so that an old file still starts the
//! server. A moved key is read under its new name, also with a warning.

use super::error::{Origin, Problems};
use super::tree::{Node, Table, Value};

/// A key that has no effect any more: its section, its name, and the fixed behaviour that replaces it.
pub(crate) struct RetiredKey {
    pub section: &'static str,
    pub key: &'static str,
    replacement: &'static str,
}

const fn retired(
    section: &'static str,
    key: &'static str,
    replacement: &'static str,
) -> RetiredKey {
    RetiredKey {
        section,
        key,
        replacement,
    }
}

pub(crate) const RETIRED_KEYS: [RetiredKey; 7] = [
    retired("ssh", "connect_timeout_s", "a connection may take 5 s"),
    retired(
        "ssh",
        "keepalive_s",
        "an idle connection is probed every 5 s",
    ),
    retired("agent", "turn_limit_s", "a turn may take 30 minutes"),
    retired(
        "agent",
        "silence_limit_s",
        "the CLI may be silent for 120 s in a turn",
    ),
    retired(
        "limits",
        "streams_per_identity",
        "an identity may open 32 event streams, or a thirty-second of limits.connections if that is more",
    ),
    retired("limits", "body_bytes", "a request body may have 64 KiB"),
    retired(
        "notifications",
        "guest_up_after_s",
        "guest_down_after_s applies in both directions",
    ),
];

/// Keys outside any section that are now in `[notifications]`: old name, new name.
pub(crate) const MOVED_KEYS: [(&str, &str); 2] =
    [("public_url", "public_url"), ("notify", "receivers")];

/// Applies both tables to the whole configuration.
pub(crate) fn migrate(root: &mut Table, problems: &mut Problems) {
    for key in &RETIRED_KEYS {
        remove(root, key, problems);
    }
    for (old, new) in MOVED_KEYS {
        move_to_notifications(root, old, new, problems);
    }
}

fn remove(root: &mut Table, retired: &RetiredKey, problems: &mut Problems) {
    let Some(section) = root.get_mut(retired.section) else {
        return;
    };
    let Value::Table(section) = &mut section.value else {
        return;
    };
    if let Some(node) = section.remove(retired.key) {
        let key = format!("{}.{}", retired.section, retired.key);
        let problem = format!("was retired in 0.2.0: {}", retired.replacement);
        problems.warn(&node.origin, &key, problem, remedy(&node.origin));
    }
}

fn remedy(origin: &Origin) -> &'static str {
    match origin {
        Origin::Variable(_) => "remove the variable",
        Origin::File { .. } | Origin::Missing(_) => "remove the line",
    }
}

fn move_to_notifications(root: &mut Table, old: &str, new: &str, problems: &mut Problems) {
    let Some(node) = root.remove(old) else {
        return;
    };
    let origin = node.origin.clone();
    let section = root
        .entry("notifications".to_owned())
        .or_insert_with(|| Node {
            value: Value::Table(Table::new()),
            origin: origin.clone(),
        });
    let Value::Table(section) = &mut section.value else {
        return;
    };
    if section.contains_key(new) {
        let problem = format!("is also set as notifications.{new}");
        problems.error(&origin, old, problem, remedy(&origin));
        return;
    }
    section.insert(new.to_owned(), node);
    let problem = format!("was moved to notifications.{new} in 0.2.0");
    problems.warn(&origin, old, problem, "write it there");
}
