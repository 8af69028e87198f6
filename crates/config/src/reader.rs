//! Reads one section key by key. Reports every wrong value, and at the end every unknown key. What a key
//! means is decided in `sections`.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::error::{Origin, Problems};
use super::tree::{Node, Table, Value};

/// A section being read. Every key that is requested becomes a known key.
pub(crate) struct SectionReader<'r> {
    prefix: String,
    table: Table,
    origin: Origin,
    known: Vec<&'static str>,
    problems: &'r mut Problems,
}

/// The value of one key, with its origin and full name for errors.
pub(crate) struct Setting<T> {
    pub value: T,
    pub origin: Origin,
    pub key: String,
}

impl<'r> SectionReader<'r> {
    pub(crate) fn new(prefix: String, node: Node, problems: &'r mut Problems) -> SectionReader<'r> {
        let table = match node.value {
            Value::Table(table) => table,
            other => {
                let problem = format!("is {}, not a section", other.name());
                problems.error(
                    &node.origin,
                    &prefix,
                    problem,
                    "write it as a table of keys",
                );
                Table::new()
            }
        };
        SectionReader {
            prefix,
            table,
            origin: node.origin,
            known: Vec::new(),
            problems,
        }
    }

    pub(crate) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// The configuration file, if there is one.
    pub(crate) fn source(&self) -> Option<PathBuf> {
        match &self.origin {
            Origin::File { path, .. } | Origin::Missing(Some(path)) => Some(path.clone()),
            Origin::Variable(_) | Origin::Missing(None) => None,
        }
    }

    /// The full name of `key`, as in `auth.token_file`.
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
        self.problems.error(&origin, &path, problem, remedy);
    }

    pub(crate) fn warn(&mut self, key: &str, problem: impl Into<String>, remedy: &str) {
        let path = self.path(key);
        let origin = self.origin.clone();
        self.problems.warn(&origin, &path, problem, remedy);
    }

    /// Whether the key is set, to a valid value or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Adds a file to the list of secrets, and warns if everyone can read it.
    pub(crate) fn note_secret(&mut self, path: &Path, origin: &Origin, key: &str) {
        use std::os::unix::fs::MetadataExt as _;
        let secret = (origin.clone(), key.to_owned(), path.to_owned());
        self.problems.secrets.push(secret);
        let mode = std::fs::metadata(path).map_or(0, |meta| meta.mode());
        if mode & 0o004 != 0 {
            let problem = format!("{} can be read by everyone", path.display());
            self.problems.warn(
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
        self.problems.error(
            &node.origin,
            &path,
            problem,
            format!("write it as {example}"),
        );
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<Setting<String>> {
        let node = self.take(key)?;
        let path = self.path(key);
        match node.value {
            Value::Text(text) if text.trim().is_empty() => {
                let remedy = "give it a value, or remove it";
                self.problems.error(&node.origin, &path, "is empty", remedy);
                None
            }
            Value::Text(value) => Some(Setting {
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

    /// A string that `parse` accepts; the error of `parse` describes the problem with the value.
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
                self.problems
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
            let remedy = format!(
                "write a whole number from {} to {}",
                range.start(),
                range.end()
            );
            let problem = "is out of range or not a whole number";
            self.problems.error(&node.origin, &path, problem, remedy);
        }
        fits
    }

    /// A list of strings, each parsed by `parse`. A variable contains them separated by commas.
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
                Err(problem) => self.problems.error(&origin, &path, problem, remedy),
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

    /// A path, which need not exist.
    pub(crate) fn path_value(&mut self, key: &'static str) -> Option<Setting<PathBuf>> {
        let found = self.text(key)?;
        Some(Setting {
            value: PathBuf::from(found.value),
            origin: found.origin,
            key: found.key,
        })
    }

    /// A directory that exists.
    pub(crate) fn directory(&mut self, key: &'static str) -> Option<PathBuf> {
        let found = self.path_value(key)?;
        if !found.value.is_dir() {
            let problem = format!("{} is not a directory", found.value.display());
            self.problems.error(
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
    pub(crate) fn file(&mut self, key: &'static str) -> Option<Setting<(PathBuf, String)>> {
        self.file_up_to(key, FILE_MAX_BYTES)
    }

    /// Like [`SectionReader::file`], for a file of at most `limit` bytes.
    pub(crate) fn file_up_to(
        &mut self,
        key: &'static str,
        limit: u64,
    ) -> Option<Setting<(PathBuf, String)>> {
        let found = self.path_value(key)?;
        let text = read_up_to(&found.value, limit);
        self.read_file(found, text)
    }

    fn read_file(
        &mut self,
        found: Setting<PathBuf>,
        text: Result<String, String>,
    ) -> Option<Setting<(PathBuf, String)>> {
        match text {
            Ok(text) => Some(Setting {
                value: (found.value, text),
                origin: found.origin,
                key: found.key,
            }),
            Err(why) => {
                let problem = format!("{} can't be read: {why}", found.value.display());
                let remedy = "create the file, or make it readable for the account of breakglass";
                self.problems
                    .error(&found.origin, &found.key, problem, remedy);
                None
            }
        }
    }

    /// Like [`SectionReader::file`]; a missing file counts as empty.
    pub(crate) fn file_or_empty(
        &mut self,
        key: &'static str,
    ) -> Option<Setting<(PathBuf, String)>> {
        let found = self.path_value(key)?;
        let text = if found.value.exists() {
            read_up_to(&found.value, FILE_MAX_BYTES)
        } else {
            Ok(String::new())
        };
        self.read_file(found, text)
    }

    /// Reads a nested section; a missing one counts as empty.
    pub(crate) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut SectionReader<'_>) -> T,
    ) -> T {
        let missing = Node {
            value: Value::Table(Table::new()),
            origin: self.origin.clone(),
        };
        let node = self.take(key).unwrap_or(missing);
        let mut section = SectionReader::new(self.path(key), node, self.problems);
        let value = read(&mut section);
        section.finish();
        value
    }

    /// Reads each section of a list of sections.
    pub(crate) fn sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut SectionReader<'_>) -> T,
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
            let mut section = SectionReader::new(path, item, self.problems);
            values.push(read(&mut section));
            section.finish();
        }
        values
    }

    /// Reports every key that was not requested.
    pub(crate) fn finish(mut self) {
        for (key, node) in std::mem::take(&mut self.table) {
            let path = self.path(&key);
            let remedy = match nearest(&key, &self.known) {
                Some(known) => format!("did you mean {known}? Otherwise remove it"),
                None => format!("remove it; known here: {}", self.known.join(", ")),
            };
            self.problems
                .error(&node.origin, &path, "is not a known key", remedy);
        }
    }
}

/// Maximum size of a file that a key names, unless the key has a limit of its own.
const FILE_MAX_BYTES: u64 = 64 * 1024;

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

/// The most similar known key, if it is similar enough for a typing error.
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
