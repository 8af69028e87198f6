//! The kinds of operands and option values.
//!
//! Opening some files has an effect, even for reading: a watchdog device starts its countdown to a reset,
//! `/proc/kmsg` and a trace pipe return each line once. So the path of a file that a program opens is
//! checked, and one that it only names is not.

use super::words::{Word, shown};

/// One kind of word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Digits, with a sign, a decimal point and a unit of up to three letters.
    Number,
    /// Letters, digits and `_ . : / @ % + -`, without `..` and `//`: no assignment and no list.
    Word,
    /// Anything.
    Text,
    /// Starts with `+`: a format for `date`, which prints the time and does not set it.
    Format,
    /// A file that is named and not opened.
    Path,
    /// A file that is opened for reading.
    File,
    /// A file, or a directory that is read recursively.
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

    /// Checks `text`, which no shell expands any more.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("`{}` {what}", shown(text)));
        match self {
            Kind::Number if !is_number(text) => wrong("is not a number"),
            Kind::Word if !is_word(text) => wrong("is not a plain word"),
            Kind::Format if !text.starts_with('+') => wrong("does not start with `+`"),
            Kind::Path if text.starts_with('+') => wrong("starts with `+`"),
            Kind::File => openable(text, false),
            Kind::Tree => openable(text, true),
            Kind::Device if !is_device(text) => wrong("is not a block device"),
            _ => Ok(()),
        }
    }

    /// Checks `word` as one of several operands, including every file that it may match.
    pub(super) fn check_one_of_many(self, word: &Word) -> Result<(), String> {
        match self {
            Kind::File | Kind::Tree if word.glob => glob_openable(&word.text)?,
            Kind::Path => {}
            _ if word.glob => return Err(one_word(word)),
            _ => {}
        }
        self.check(&word.text)
    }

    /// Checks `word`, which must remain one word.
    pub(super) fn check_single(self, word: &Word) -> Result<(), String> {
        if word.glob {
            return Err(one_word(word));
        }
        self.check(&word.text)
    }
}

fn one_word(word: &Word) -> String {
    format!(
        "the pattern `{}` may expand to several words instead of one",
        shown(&word.text)
    )
}

/// Without `..` and `//`, which would turn the key of a setting into a path to another file.
fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:/@%+-".contains(c);
    text.chars().all(plain) && !text.contains("..") && !text.contains("//")
}

/// `/dev/vda1`, `/dev/mapper/data`, `vg0/data`: no character device, since opening one may have an effect.
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

/// The components of a path, without empty ones and `.`.
fn parts(path: &str) -> Vec<&str> {
    let mut parts: Vec<_> = path.split('/').collect();
    parts.retain(|part| !matches!(*part, "" | "."));
    parts
}

/// Checks that opening `path` is known to only read.
fn openable(path: &str, whole_tree: bool) -> Result<(), String> {
    let parts = parts(path);
    let absolute = path.starts_with('/');
    let refuse = |why: &str| Err(format!("`{}` {why}", shown(path)));
    let special = ["kmsg", "fd", "cwd", "root", "map_files"];
    match parts.first().copied() {
        _ if path.starts_with('@') => refuse("may be a list of further arguments"),
        _ if parts.contains(&"..") => refuse("leads upwards: write the full path"),
        _ if parts.contains(&"trace_pipe") => refuse("returns each line once"),
        None if absolute && whole_tree => refuse("includes devices and kernel files"),
        Some("dev") if parts != ["dev", "null"] && parts != ["dev", "stdin"] => {
            refuse("may be a device, and opening some devices has an effect")
        }
        Some("proc" | "sys") if whole_tree => {
            refuse("contains kernel files that are not all safe to open")
        }
        Some("proc") if parts.iter().any(|part| special.contains(part)) => {
            refuse("leads to files that another process has open")
        }
        Some("sys") if matches!(parts.get(1..3), Some(["kernel", "debug" | "tracing"])) => {
            refuse("is the kernel's debugging interface")
        }
        _ => Ok(()),
    }
}

/// Checks that no file that [`openable`] refuses can match a pattern.
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
            "the pattern `{}` may match a device or a kernel file",
            shown(path)
        ))
    }
}
