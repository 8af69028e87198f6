//! The guest's filesystem: a tree of names with sizes, and the space that they take.
//!
//! Invariant: `used()` is the sum of the blocks of all nodes in the tree, so `df`, `du` and `ls`
//! always agree, and removing a file frees its space.

use std::collections::BTreeMap;

use super::clock::Moment;
use super::content::Content;

/// Bytes in a block, the unit of allocation.
pub(crate) const BLOCK: u64 = 4096;
const NODES_MAX: usize = 4096;
/// Maximum size of a file whose text is stored.
const TEXT_MAX_BYTES: usize = 1 << 18;

/// A file or a directory.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// `None` for a directory.
    pub(crate) content: Option<Content>,
    pub(crate) owner: String,
    /// Permission bits, as in `chmod`.
    pub(crate) mode: u16,
    pub(crate) modified: Moment,
}

impl Node {
    pub(crate) fn dir(owner: &str, modified: Moment) -> Node {
        Node {
            content: None,
            owner: owner.to_owned(),
            mode: 0o755,
            modified,
        }
    }

    pub(crate) fn file(content: Content, owner: &str, modified: Moment) -> Node {
        Node {
            content: Some(content),
            mode: 0o644,
            ..Node::dir(owner, modified)
        }
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.content.is_none()
    }

    /// Bytes, as `ls -l` shows them.
    pub(crate) fn size(&self) -> u64 {
        self.content.as_ref().map_or(BLOCK, Content::size)
    }

    /// Bytes allocated on the disk.
    pub(crate) fn allocated(&self) -> u64 {
        self.size().next_multiple_of(BLOCK)
    }
}

/// Why the filesystem refused, in the C library's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("No such file or directory")]
    Missing,
    #[error("Is a directory")]
    IsDir,
    #[error("Not a directory")]
    NotDir,
    #[error("File exists")]
    Exists,
    #[error("Permission denied")]
    Denied,
    #[error("No space left on device")]
    Full,
}

type DiskResult = Result<(), DiskError>;

/// The root filesystem.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    nodes: BTreeMap<String, Node>,
    total: u64,
}

impl Disk {
    /// An empty filesystem of `total` bytes.
    pub(crate) fn new(total: u64) -> Disk {
        let root = Node::dir("root", Moment::before(90 * 86_400));
        Disk {
            nodes: BTreeMap::from([("/".to_owned(), root)]),
            total,
        }
    }

    /// Adds a node and its missing parents without a check for space or permission.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        let parent = parent(path);
        if !self.nodes.contains_key(parent) {
            self.put(parent, Node::dir(&node.owner, node.modified));
        }
        self.nodes.insert(path.to_owned(), node);
    }

    pub(crate) fn get(&self, path: &str) -> Result<&Node, DiskError> {
        self.nodes.get(path).ok_or(DiskError::Missing)
    }

    /// The content of the file at `path`, if `user` may read it.
    pub(crate) fn file(&self, path: &str, user: &str) -> Result<&Content, DiskError> {
        let node = self.get(path)?;
        if user != "root" && node.owner != user && node.mode & 0o004 == 0 {
            return Err(DiskError::Denied);
        }
        node.content.as_ref().ok_or(DiskError::IsDir)
    }

    /// The entries of the directory `path`, sorted by name.
    pub(crate) fn children(&self, path: &str) -> Vec<(&str, &Node)> {
        let below = below(path);
        let all = self.nodes.iter();
        let rest = all.filter_map(|(name, node)| Some((name.strip_prefix(&below)?, node)));
        rest.filter(|(rest, _)| !rest.is_empty() && !rest.contains('/'))
            .collect()
    }

    /// `path` itself and everything below it, sorted by name.
    pub(crate) fn walk(&self, path: &str) -> Vec<(&str, &Node)> {
        let below = below(path);
        let all = self.nodes.iter().map(|(name, node)| (name.as_str(), node));
        all.filter(|(name, _)| *name == path || name.starts_with(&below))
            .collect()
    }

    /// Bytes allocated to `path` and everything below it.
    pub(crate) fn usage(&self, path: &str) -> u64 {
        let nodes = self.walk(path).into_iter();
        nodes.map(|(_, node)| node.allocated()).sum()
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn used(&self) -> u64 {
        self.nodes.values().map(Node::allocated).sum()
    }

    pub(crate) fn free(&self) -> u64 {
        self.total.saturating_sub(self.used())
    }

    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Writes `text` to the file at `path`: to its end if `append`, else as its whole content.
    pub(crate) fn write(
        &mut self,
        path: &str,
        text: &str,
        append: bool,
        user: &str,
        now: Moment,
    ) -> DiskResult {
        self.update(path, user, now, |content| {
            let kept = if append {
                content.read(TEXT_MAX_BYTES)
            } else {
                String::new()
            };
            *content = Content::text(kept + text);
            if content.size() > TEXT_MAX_BYTES as u64 {
                return Err(DiskError::Full);
            }
            Ok(())
        })
    }

    /// Makes the file exactly `size` bytes long; creates it if it does not exist.
    pub(crate) fn truncate(
        &mut self,
        path: &str,
        size: u64,
        user: &str,
        now: Moment,
    ) -> DiskResult {
        self.update(path, user, now, |content| {
            content.resize(size.min(u64::MAX / 2));
            Ok(())
        })
    }

    /// Changes the content of a file, empty if it is new, unless the disk is then too full.
    fn update(
        &mut self,
        path: &str,
        user: &str,
        now: Moment,
        change: impl FnOnce(&mut Content) -> DiskResult,
    ) -> DiskResult {
        let new = Node::file(Content::default(), user, now);
        let mut node = self.nodes.get(path).cloned().unwrap_or(new);
        let before = if self.nodes.contains_key(path) {
            node.allocated()
        } else {
            0
        };
        let content = node.content.as_mut().ok_or(DiskError::IsDir)?;
        self.check_write(path, user)?;
        change(content)?;
        node.modified = now;
        let grown = node.allocated().saturating_sub(before);
        // An empty file takes no block, so the number of names is limited too.
        if (grown > 0 && grown > self.free()) || self.count() >= NODES_MAX {
            return Err(DiskError::Full);
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// Creates a directory. With `parents`, creates its missing parents too, and accepts an existing
    /// directory.
    pub(crate) fn make_dir(
        &mut self,
        path: &str,
        parents: bool,
        user: &str,
        now: Moment,
    ) -> DiskResult {
        match self.nodes.get(path) {
            Some(node) if parents && node.is_dir() => return Ok(()),
            Some(_) => return Err(DiskError::Exists),
            None if parents => self.make_dir(parent(path), true, user, now)?,
            None => {}
        }
        self.check_write(path, user)?;
        if self.free() < BLOCK || self.count() >= NODES_MAX {
            return Err(DiskError::Full);
        }
        self.put(path, Node::dir(user, now));
        Ok(())
    }

    /// Removes `path` and everything below it, also if it is a directory.
    pub(crate) fn remove(&mut self, path: &str, user: &str) -> DiskResult {
        self.get(path)?;
        self.check_change(parent(path), user)?;
        let below = below(path);
        self.nodes
            .retain(|name, _| name != path && !name.starts_with(&below));
        Ok(())
    }

    /// Whether `user` may write the file at `path`, or create it.
    fn check_write(&self, path: &str, user: &str) -> DiskResult {
        match self.nodes.get(path) {
            Some(node) if user == "root" || node.owner == user => Ok(()),
            Some(_) => Err(DiskError::Denied),
            None => self.check_change(parent(path), user),
        }
    }

    /// Whether `user` may add and remove entries of the directory `dir`.
    fn check_change(&self, dir: &str, user: &str) -> DiskResult {
        let node = self.get(dir)?;
        if !node.is_dir() {
            return Err(DiskError::NotDir);
        }
        if user != "root" && node.owner != user && node.mode & 0o002 == 0 {
            return Err(DiskError::Denied);
        }
        Ok(())
    }
}

/// The prefix of all paths below `path`.
fn below(path: &str) -> String {
    format!("{}/", path.trim_end_matches('/'))
}

/// The number of directories between `/` and `path`.
pub(crate) fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

/// The directory that contains `path`.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// `path` as an absolute path from `dir`, without `.`, `..` and repeated slashes.
pub(crate) fn resolve(dir: &str, path: &str) -> String {
    let dir = if path.starts_with('/') { "" } else { dir };
    let mut parts: Vec<&str> = Vec::new();
    for part in dir.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}
