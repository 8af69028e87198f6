//! What an operand or an option's value may be.
//!
//! Some files do something when they are opened, even for reading: a watchdog device starts to
//! count down to a reset, `/proc/kmsg` and a trace pipe hand out each line once. So what a program
//! opens is judged by its path, and what it only names is not.

use super::words::{Word, shown};

/// One kind of word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Digits, with a sign, a decimal point and a unit of up to three letters.
    Number,
    /// Letters, digits and `_ . : / @ % + -`, without `..` and `//`: nothing that assigns or lists.
    Word,
    /// Anything.
    Text,
    /// Begins with `+`: what `date` prints and does not set.
    Format,
    /// A file that is named and not opened.
    Path,
    /// A file that is opened for reading.
    File,
    /// A file or directory that is read with all below it.
    Tree,
    /// A block device, or the name of a volume.
    Device,
}

impl Kind {
    /// All kinds with their names in the file.
    pub(super) const ALL: [(&'static str, Kind); 8] = [
        ("number", Kind::Number),
        ("word", Kind::Word),
        ("text", Kind::Text),
        ("format", Kind::Format),
        ("path", Kind::Path),
        ("file", Kind::File),
        ("tree", Kind::Tree),
        ("device", Kind::Device),
    ];

    /// The kind with this name.
    pub(super) fn named(name: &str) -> Option<Kind> {
        Kind::ALL.iter().find(|it| it.0 == name).map(|it| it.1)
    }

    /// Whether `text`, which no shell expands any more, is of this kind.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("`{}` {what}", shown(text)));
        match self {
            Kind::Number if !is_number(text) => wrong("is no number"),
            Kind::Word if !is_word(text) => wrong("is no plain word"),
            Kind::Format if !text.starts_with('+') => wrong("does not begin with `+`"),
            Kind::Path if text.starts_with('+') => wrong("begins with `+`"),
            Kind::File => openable(text, false),
            Kind::Tree => openable(text, true),
            Kind::Device if !is_device(text) => wrong("is no block device"),
            _ => Ok(()),
        }
    }

    /// Whether `word`, one of several like it, is of this kind, whatever files it matches.
    pub(super) fn check_one_of_many(self, word: &Word) -> Result<(), String> {
        match self {
            Kind::File | Kind::Tree if word.glob => glob_openable(&word.text)?,
            Kind::Path => {}
            _ if word.glob => return Err(one_word(word)),
            _ => {}
        }
        self.check(&word.text)
    }

    /// Whether `word` is of this kind and stays one word.
    pub(super) fn check_single(self, word: &Word) -> Result<(), String> {
        if word.glob {
            return Err(one_word(word));
        }
        self.check(&word.text)
    }
}

fn one_word(word: &Word) -> String {
    format!(
        "the pattern `{}` may become several words where one is meant",
        shown(&word.text)
    )
}

/// Without `..` and `//`, by which the key of a setting becomes a path to another file.
fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:/@%+-".contains(c);
    text.chars().all(plain) && !text.contains("..") && !text.contains("//")
}

/// `/dev/vda1`, `/dev/mapper/data`, `vg0/data`: no character device, which may do something when
/// it is opened.
fn is_device(text: &str) -> bool {
    const BLOCK: [&str; 11] = [
        "sd", "vd", "xvd", "hd", "nvme", "md", "dm-", "mapper", "disk", "loop", "mmcblk",
    ];
    let parts = parts(text);
    let block = |name: &&str| BLOCK.iter().any(|prefix| name.starts_with(prefix));
    !parts.contains(&"..")
        && if text.starts_with('/') {
            parts.first() == Some(&"dev") && parts.get(1).is_some_and(block)
        } else {
            parts.first() != Some(&"dev")
        }
}

/// `5`, `-1`, `+2.5`, `10m`, `512MiB`.
pub(super) fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    text.starts_with(|c: char| c.is_ascii_digit())
        && unit.len() <= 3
        && unit.chars().all(|c| c.is_ascii_alphabetic())
}

/// The names on the way to a file; empty ones and `.` lead nowhere.
fn parts(path: &str) -> Vec<&str> {
    let mut parts: Vec<_> = path.split('/').collect();
    parts.retain(|part| !matches!(*part, "" | "."));
    parts
}

/// Whether opening what `path` names is known to do no more than read.
fn openable(path: &str, whole_tree: bool) -> Result<(), String> {
    let parts = parts(path);
    let absolute = path.starts_with('/');
    let refuse = |why: &str| Err(format!("`{}` {why}", shown(path)));
    let special = ["kmsg", "fd", "cwd", "root", "map_files"];
    match parts.first().copied() {
        _ if path.starts_with('@') => refuse("may be a list of further arguments"),
        _ if parts.contains(&"..") => refuse("leads upwards: write the whole path"),
        _ if parts.contains(&"trace_pipe") => refuse("hands out each line once"),
        None if absolute && whole_tree => refuse("is everything, devices and kernel files too"),
        Some("dev") if parts != ["dev", "null"] && parts != ["dev", "stdin"] => {
            refuse("may be a device, and opening some devices does something")
        }
        Some("proc" | "sys") if whole_tree => {
            refuse("holds files of the kernel that are not all safe to open")
        }
        Some("proc") if parts.iter().any(|part| special.contains(part)) => {
            refuse("leads to what another process has open")
        }
        Some("sys") if matches!(parts.get(1..3), Some(["kernel", "debug" | "tracing"])) => {
            refuse("is the kernel's debugging interface")
        }
        _ => Ok(()),
    }
}

/// Whether none of the files that match a pattern can be one that [`openable`] refuses.
fn glob_openable(path: &str) -> Result<(), String> {
    let parts = parts(path);
    let wild: Vec<_> = parts
        .iter()
        .map(|part| part.contains(['*', '?', '[', ']']))
        .collect();
    // `.?` matches `..` in some shells.
    let upwards = parts
        .iter()
        .zip(&wild)
        .any(|(part, wild)| *wild && part.starts_with('.'));
    let others = |at: usize| wild.iter().enumerate().all(|(i, wild)| i == at || !wild);
    let known = match (parts.first().copied(), &wild[..]) {
        _ if upwards => false,
        (_, [] | [true, ..]) => false,
        (Some("proc"), [_, _, _, ..]) => others(1),
        (Some("proc"), _) => false,
        (Some("sys"), [_, wild, ..]) => !wild && parts.get(1) != Some(&"kernel"),
        _ => true,
    };
    if known {
        Ok(())
    } else {
        Err(format!(
            "the pattern `{}` may match a device or a file of the kernel",
            shown(path)
        ))
    }
}
