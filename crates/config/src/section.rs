//! Reads one section key by key: says what is wrong with each, and at the end which keys are
//! not known.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::error::{Origin, Report};
use super::tree::{Node, Table, Value};

/// A section being read. Every key that is asked for becomes a known key.
pub(crate) struct Section<'r> {
    prefix: String,
    table: Table,
    origin: Origin,
    known: Vec<&'static str>,
    report: &'r mut Report,
}

/// A value that was found, with what an error about it needs.
pub(crate) struct Found<T> {
    pub value: T,
    pub origin: Origin,
    pub key: String,
}

impl<'r> Section<'r> {
    pub(crate) fn new(prefix: String, node: Node, report: &'r mut Report) -> Section<'r> {
        let table = match node.value {
            Value::Table(table) => table,
            other => {
                let problem = format!("is {}, not a section", other.name());
                report.error(
                    &node.origin,
                    &prefix,
                    problem,
                    "write it as a table of keys",
                );
                Table::new()
            }
        };
        Section {
            prefix,
            table,
            origin: node.origin,
            known: Vec::new(),
            report,
        }
    }

    pub(crate) fn report(&mut self) -> &mut Report {
        self.report
    }

    /// The file that the whole configuration is read from, if it is one.
    pub(crate) fn source(&self) -> Option<PathBuf> {
        match &self.origin {
            Origin::File { path, .. } | Origin::Missing(Some(path)) => Some(path.clone()),
            Origin::Variable(_) | Origin::Missing(None) => None,
        }
    }

    pub(crate) fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.prefix)
        }
    }

    pub(crate) fn error(&mut self, key: &str, problem: impl Into<String>, remedy: &str) {
        let path = self.path(key);
        let origin = self.origin.clone();
        self.report.error(&origin, &path, problem, remedy);
    }

    pub(crate) fn warn(&mut self, key: &str, problem: impl Into<String>, remedy: &str) {
        let path = self.path(key);
        let origin = self.origin.clone();
        self.report.warn(&origin, &path, problem, remedy);
    }

    /// Whether the key is there at all, right or wrong.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A file with a secret in it should be its owner's alone, and is kept in mind.
    pub(crate) fn note_secret(&mut self, path: &Path, origin: &Origin, key: &str) {
        use std::os::unix::fs::MetadataExt as _;
        let secret = (origin.clone(), key.to_owned(), path.to_owned());
        self.report.secrets.push(secret);
        let mode = std::fs::metadata(path).map_or(0, |meta| meta.mode());
        if mode & 0o004 != 0 {
            let problem = format!("{} can be read by everyone", path.display());
            self.report.warn(
                origin,
                key,
                problem,
                format!("chmod 0400 {}", path.display()),
            );
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn wrong_type(&mut self, key: &str, node: &Node, wanted: &str, example: &str) {
        let path = self.path(key);
        let problem = format!("is {}, not {wanted}", node.value.name());
        self.report.error(
            &node.origin,
            &path,
            problem,
            format!("write it as {example}"),
        );
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<Found<String>> {
        let node = self.take(key)?;
        let path = self.path(key);
        match node.value {
            Value::Text(text) if text.trim().is_empty() => {
                let remedy = "give it a value, or leave it out";
                self.report.error(&node.origin, &path, "is empty", remedy);
                None
            }
            Value::Text(value) => Some(Found {
                value,
                origin: node.origin,
                key: path,
            }),
            _ => {
                self.wrong_type(key, &node, "a string", "\"…\"");
                None
            }
        }
    }

    /// A text that `parse` understands; its error is a sentence about the value.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let found = self.text(key)?;
        match parse(&found.value) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.report
                    .error(&found.origin, &found.key, problem, remedy);
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let Some(node) = self.take(key) else {
            return default;
        };
        match &node.value {
            Value::Boolean(on) => *on,
            Value::Text(text) if text == "true" => true,
            Value::Text(text) if text == "false" => false,
            _ => {
                self.wrong_type(key, &node, "true or false", "true or false");
                default
            }
        }
    }

    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        self.optional_integer(key, range).unwrap_or(default)
    }

    pub(crate) fn optional_integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let node = self.take(key)?;
        let number = match &node.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        let fits = number.filter(|number| range.contains(number));
        if fits.is_none() {
            let path = self.path(key);
            let remedy = format!("a whole number from {} to {}", range.start(), range.end());
            let problem = "is out of range or no whole number";
            self.report
                .error(&node.origin, &path, problem, format!("write {remedy}"));
        }
        fits
    }

    /// A list of texts; in a variable, separated by commas. Each goes through `parse`.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let node = self.take(key)?;
        let path = self.path(key);
        let items: Vec<(String, Origin)> = match node.value {
            Value::Text(text) if matches!(node.origin, Origin::Variable(_)) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| (item.to_owned(), node.origin.clone()))
                .collect(),
            Value::List(items) => self.texts(key, items),
            _ => {
                self.wrong_type(key, &node, "a list of strings", "[\"…\", \"…\"]");
                return None;
            }
        };
        let mut values = Vec::with_capacity(items.len());
        for (item, origin) in items {
            match parse(&item) {
                Ok(value) => values.push(value),
                Err(problem) => self.report.error(&origin, &path, problem, remedy),
            }
        }
        Some(values)
    }

    fn texts(&mut self, key: &str, items: Vec<Node>) -> Vec<(String, Origin)> {
        let mut texts = Vec::with_capacity(items.len());
        for node in items {
            match node.value {
                Value::Text(text) => texts.push((text, node.origin)),
                _ => self.wrong_type(key, &node, "a string", "\"…\""),
            }
        }
        texts
    }

    /// A path, taken as it is.
    pub(crate) fn path_value(&mut self, key: &'static str) -> Option<Found<PathBuf>> {
        let found = self.text(key)?;
        Some(Found {
            value: PathBuf::from(found.value),
            origin: found.origin,
            key: found.key,
        })
    }

    /// A directory that exists.
    pub(crate) fn directory(&mut self, key: &'static str) -> Option<PathBuf> {
        let found = self.path_value(key)?;
        if !found.value.is_dir() {
            let problem = format!("{} is no directory", found.value.display());
            self.report.error(
                &found.origin,
                &found.key,
                problem,
                "create it, or correct the path",
            );
            return None;
        }
        Some(found.value)
    }

    /// The contents of the file that `key` names, at most 64 KiB, with its path.
    pub(crate) fn file(&mut self, key: &'static str) -> Option<Found<(PathBuf, String)>> {
        self.file_up_to(key, SMALL)
    }

    /// The same of a file of at most `limit` bytes.
    pub(crate) fn file_up_to(
        &mut self,
        key: &'static str,
        limit: u64,
    ) -> Option<Found<(PathBuf, String)>> {
        let found = self.path_value(key)?;
        let text = read_up_to(&found.value, limit);
        self.read_file(found, text)
    }

    fn read_file(
        &mut self,
        found: Found<PathBuf>,
        text: Result<String, String>,
    ) -> Option<Found<(PathBuf, String)>> {
        match text {
            Ok(text) => Some(Found {
                value: (found.value, text),
                origin: found.origin,
                key: found.key,
            }),
            Err(why) => {
                let problem = format!("{} can't be read: {why}", found.value.display());
                let remedy = "create the file, or let the user that breakglass runs as read it";
                self.report
                    .error(&found.origin, &found.key, problem, remedy);
                None
            }
        }
    }

    /// The same of a file that may be missing, and is empty then.
    pub(crate) fn file_if_there(&mut self, key: &'static str) -> Option<Found<(PathBuf, String)>> {
        let found = self.path_value(key)?;
        let text = match found.value.exists() {
            true => read_up_to(&found.value, SMALL),
            false => Ok(String::new()),
        };
        self.read_file(found, text)
    }

    /// Reads a section within; missing is the same as empty.
    pub(crate) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let missing = Node {
            value: Value::Table(Table::new()),
            origin: self.origin.clone(),
        };
        let node = self.take(key).unwrap_or(missing);
        let mut section = Section::new(self.path(key), node, self.report);
        let value = read(&mut section);
        section.finish();
        value
    }

    /// Reads each section of a list of sections.
    pub(crate) fn sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        let Value::List(items) = node.value else {
            let example = format!("[[{key}]] … for each");
            self.wrong_type(key, &node, "a list of sections", &example);
            return Vec::new();
        };
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.path(key));
            let mut section = Section::new(path, item, self.report);
            values.push(read(&mut section));
            section.finish();
        }
        values
    }

    /// Refuses what is left over.
    pub(crate) fn finish(mut self) {
        for (key, node) in std::mem::take(&mut self.table) {
            let path = self.path(&key);
            let remedy = match nearest(&key, &self.known) {
                Some(known) => format!("did you mean {known}? Otherwise remove it"),
                None => format!("remove it; known here: {}", self.known.join(", ")),
            };
            self.report
                .error(&node.origin, &path, "is not a known key", remedy);
        }
    }
}

/// The largest file of most kinds, in bytes.
const SMALL: u64 = 64 * 1024;

fn read_up_to(path: &Path, limit: u64) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(limit + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > limit {
        return Err(format!("it is larger than {} KiB", limit / 1024));
    }
    Ok(text)
}

/// The known key that differs least, where that is little enough to be a slip.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let scored = known
        .iter()
        .map(|&candidate| (distance(key, candidate), candidate));
    scored
        .min()
        .filter(|&(edits, name)| edits <= 1 + name.len() / 4)
        .map(|(_, name)| name)
}

/// Insertions, deletions and substitutions between two words (Levenshtein), one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
