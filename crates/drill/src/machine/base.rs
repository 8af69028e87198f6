//! Builds the guest as it is on a good day, from its description in `devvm.toml`.

use serde::Deserialize;

use super::clock::Moment;
use super::content::Content;
use super::disk::{Disk, Node};
use super::guest::Guest;
use super::journal::Journal;
use super::unit::UnitFile;

const DESCRIPTION: &str = include_str!("devvm.toml");
const DISK_MEBIBYTES: u64 = 40_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    files: Vec<File>,
    units: Vec<UnitFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    text: Option<String>,
    line: Option<String>,
    mebibytes: Option<u64>,
    owner: Option<String>,
    mode: Option<u16>,
    /// Seconds before the drill.
    modified_before: Option<i64>,
}

/// The guest, booted at `booted`.
///
/// # Errors
/// If the description can't be parsed.
pub(super) fn guest(booted: Moment) -> Result<Guest, toml::de::Error> {
    let description: Description = toml::from_str(DESCRIPTION)?;
    let mut disk = Disk::new(DISK_MEBIBYTES << 20);
    for file in description.files {
        let (path, node) = file.into_node();
        disk.put(&path, node);
    }
    let journal = Journal::default();
    Ok(Guest::boot(disk, description.units, journal, booted))
}

impl File {
    fn into_node(self) -> (String, Node) {
        let owner = self.owner.as_deref().unwrap_or("root");
        let modified = Moment::before(self.modified_before.unwrap_or(64 * 86_400));
        let size = self.mebibytes.unwrap_or(0) << 20;
        let mut node = match (self.text, self.line) {
            (Some(text), _) => Node::file(Content::text(text), owner, modified),
            (_, Some(line)) => Node::file(Content::log(&line, size), owner, modified),
            _ if size > 0 => Node::file(Content::binary(size), owner, modified),
            _ => Node::dir(owner, modified),
        };
        node.mode = self.mode.unwrap_or(node.mode);
        (self.path, node)
    }
}
