//! The guest's filesystem: a tree of names with sizes, and the space that they take.
//!
//! Invariant: `used()` is the sum of the blocks of everything in the tree and nothing else, so
//! `df`, `du` and `ls` can't disagree, and what is deleted is free again.

use std::collections::BTreeMap;

use super::clock::Moment;
use super::content::Content;

/// Bytes in a block: the unit in which space is given out.
pub(crate) const BLOCK: u64 = 4096;
/// Names in the tree at most; a shell can't grow it for ever.
const MAX_NODES: usize = 4096;
/// Bytes of literal text that one file can hold.
const MAX_TEXT: usize = 1 << 20;

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
    pub(crate) fn is_dir(&self) -> bool {
        self.content.is_none()
    }

    /// Bytes as `ls -l` shows them.
    pub(crate) fn size(&self) -> u64 {
        self.content.as_ref().map_or(BLOCK, Content::size)
    }

    /// Bytes taken on the disk.
    pub(crate) fn allocated(&self) -> u64 {
        self.size().div_ceil(BLOCK) * BLOCK
    }
}

/// Why the filesystem said no, in the C library's words.
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

/// The root filesystem.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    nodes: BTreeMap<String, Node>,
    total: u64,
}

impl Disk {
    /// An empty filesystem of `total` bytes.
    pub(crate) fn new(total: u64) -> Disk {
        let mut disk = Disk {
            nodes: BTreeMap::new(),
            total,
        };
        disk.put("/", None, "root", 0o755, Moment::before(90 * 86_400));
        disk
    }

    /// Adds a node and its missing parents without asking for room: for building the machine.
    pub(crate) fn put(
        &mut self,
        path: &str,
        content: Option<Content>,
        owner: &str,
        mode: u16,
        modified: Moment,
    ) {
        let parent = parent(path).to_owned();
        if path != "/" && !self.nodes.contains_key(&parent) {
            self.put(&parent, None, owner, 0o755, modified);
        }
        let node = Node {
            content,
            owner: owner.to_owned(),
            mode,
            modified,
        };
        self.nodes.insert(path.to_owned(), node);
    }

    pub(crate) fn get(&self, path: &str) -> Result<&Node, DiskError> {
        self.nodes.get(path).ok_or(DiskError::Missing)
    }

    /// The file at `path`, readable by `user`.
    pub(crate) fn file(&self, path: &str, user: &str) -> Result<&Content, DiskError> {
        let node = self.get(path)?;
        if user != "root" && node.owner != user && node.mode & 0o004 == 0 {
            return Err(DiskError::Denied);
        }
        node.content.as_ref().ok_or(DiskError::IsDir)
    }

    /// Names directly in the directory `path`, sorted, with their nodes.
    pub(crate) fn children(&self, path: &str) -> Vec<(&str, &Node)> {
        let prefix = if path == "/" {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        let start = self.nodes.range(prefix.clone()..);
        start
            .take_while(|(name, _)| name.starts_with(&prefix))
            .filter_map(|(name, node)| {
                let rest = &name[prefix.len()..];
                (!rest.is_empty() && !rest.contains('/')).then_some((rest, node))
            })
            .collect()
    }

    /// `path` itself and everything below it, in order of their names.
    pub(crate) fn walk(&self, path: &str) -> Vec<(&str, &Node)> {
        let below = if path == "/" {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        let inside = |name: &str| name == path || name.starts_with(&below);
        self.nodes
            .iter()
            .filter(|(name, _)| inside(name))
            .map(|(n, node)| (n.as_str(), node))
            .collect()
    }

    /// Bytes taken by `path` and everything below it.
    pub(crate) fn usage(&self, path: &str) -> u64 {
        self.walk(path)
            .iter()
            .map(|(_, node)| node.allocated())
            .sum()
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

    /// Writes `text` into the file at `path`, behind what it holds if `append`.
    pub(crate) fn write(
        &mut self,
        path: &str,
        text: &str,
        append: bool,
        user: &str,
        now: Moment,
    ) -> Result<(), DiskError> {
        let before = match self.nodes.get(path) {
            Some(node) if node.is_dir() => return Err(DiskError::IsDir),
            Some(node) => node.allocated(),
            None => 0,
        };
        self.may_write(path, user)?;
        let mut whole = match self.nodes.get(path).and_then(|node| node.content.as_ref()) {
            Some(content) if append => content.read(MAX_TEXT),
            _ => String::new(),
        };
        whole.push_str(text);
        let content = Content::Text(whole);
        let after = content.size().div_ceil(BLOCK) * BLOCK;
        let grown = after.saturating_sub(before);
        // The length alone is not room enough: an empty file is a name, and names are bounded too.
        if (grown > 0 && grown > self.free())
            || content.size() > MAX_TEXT as u64
            || self.count() >= MAX_NODES
        {
            return Err(DiskError::Full);
        }
        let (owner, mode) = self
            .nodes
            .get(path)
            .map_or((user.to_owned(), 0o644), |n| (n.owner.clone(), n.mode));
        self.nodes.insert(
            path.to_owned(),
            Node {
                content: Some(content),
                owner,
                mode,
                modified: now,
            },
        );
        Ok(())
    }

    /// Makes the file exactly `size` bytes long, creating it if need be.
    pub(crate) fn truncate(
        &mut self,
        path: &str,
        size: u64,
        user: &str,
        now: Moment,
    ) -> Result<(), DiskError> {
        if !self.nodes.contains_key(path) {
            self.write(path, "", false, user, now)?;
        }
        self.may_write(path, user)?;
        let free = self.free();
        let node = self.nodes.get_mut(path).ok_or(DiskError::Missing)?;
        let before = node.allocated();
        if (size.div_ceil(BLOCK) * BLOCK).saturating_sub(before) > free {
            return Err(DiskError::Full);
        }
        node.content.as_mut().ok_or(DiskError::IsDir)?.resize(size);
        node.modified = now;
        Ok(())
    }

    pub(crate) fn make_dir(
        &mut self,
        path: &str,
        user: &str,
        now: Moment,
    ) -> Result<(), DiskError> {
        if self.nodes.contains_key(path) {
            return Err(DiskError::Exists);
        }
        self.may_write(path, user)?;
        if self.free() < BLOCK || self.count() >= MAX_NODES {
            return Err(DiskError::Full);
        }
        self.put(path, None, user, 0o755, now);
        Ok(())
    }

    /// Removes `path` and everything below it. The caller decides whether a directory may go.
    pub(crate) fn remove(&mut self, path: &str, user: &str) -> Result<(), DiskError> {
        self.get(path)?;
        self.may_change(parent(path), user)?;
        let below = format!("{path}/");
        self.nodes
            .retain(|name, _| name != path && !name.starts_with(&below));
        Ok(())
    }

    fn may_write(&self, path: &str, user: &str) -> Result<(), DiskError> {
        match self.nodes.get(path) {
            Some(node) if user == "root" || node.owner == user => Ok(()),
            Some(_) => Err(DiskError::Denied),
            None => self.may_change(parent(path), user),
        }
    }

    fn may_change(&self, dir: &str, user: &str) -> Result<(), DiskError> {
        let node = self.get(dir)?;
        if !node.is_dir() {
            return Err(DiskError::NotDir);
        }
        let allowed = user == "root" || node.owner == user || node.mode & 0o002 != 0;
        if allowed {
            Ok(())
        } else {
            Err(DiskError::Denied)
        }
    }
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// `path` made absolute from `dir`, without `.`, `..` and doubled slashes.
pub(crate) fn resolve(dir: &str, path: &str) -> String {
    let full = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{dir}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in full.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}
