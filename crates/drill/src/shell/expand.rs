//! Expands words to arguments: values, splitting at blanks, file name patterns.
//!
//! Inside a pattern a backslash makes the next character literal.

use super::syntax::{Piece, Value};
use crate::machine::{Disk, resolve};

/// Maximum number of names that one pattern may become.
const MATCHES_MAX: usize = 1024;

/// The patterns that `word` expands to; `value` evaluates a variable or a substitution.
pub(super) fn fields(word: &[Piece], mut value: impl FnMut(&Value) -> String) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field: Option<String> = None;
    for piece in word {
        match &piece.value {
            Value::Text(text) if !piece.quoted => field.get_or_insert_default().push_str(text),
            quoted if piece.quoted => {
                let text = escape(&value(quoted));
                field.get_or_insert_default().push_str(&text);
            }
            split => {
                for (index, part) in value(split).split_whitespace().enumerate() {
                    if index > 0 {
                        fields.extend(field.take());
                    }
                    field.get_or_insert_default().push_str(&escape(part));
                }
            }
        }
    }
    fields.extend(field);
    fields
}

fn escape(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// The text of a pattern, without the backslashes that protect its characters.
pub(super) fn unescape(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

/// The sorted names on `disk` that match `pattern`, relative to `cwd` if the pattern is. A pattern
/// without a wildcard or without a match stays as it is.
pub(super) fn names(disk: &Disk, cwd: &str, pattern: &str) -> Vec<String> {
    if escape(&unescape(pattern)) == pattern {
        return vec![unescape(pattern)];
    }
    let full = resolve(&escape(cwd), pattern);
    let prefix = if pattern.starts_with('/') {
        String::new()
    } else {
        format!("{}/", cwd.trim_end_matches('/'))
    };
    let all = disk.walk("/");
    let matching = all.iter().filter(|(path, _)| matches_path(&full, path));
    let found = matching.map(|(path, _)| path.strip_prefix(&prefix).unwrap_or(path).to_owned());
    let found: Vec<String> = found.take(MATCHES_MAX).collect();
    if found.is_empty() {
        vec![unescape(pattern)]
    } else {
        found
    }
}

fn matches_path(pattern: &str, path: &str) -> bool {
    let (mut parts, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(""), Some("")) => {}
            (Some(part), Some(name)) => {
                let hidden = name.starts_with('.') && !part.starts_with('.');
                if hidden || name.is_empty() || !matches(part, name) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Whether `name` matches the wildcards `*` and `?` in `pattern`. Never exponential: only the last
/// star is ever retried.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        let escaped = pattern.get(p) == Some(&'\\');
        let want = pattern.get(p + usize::from(escaped));
        if !escaped && want == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if want == Some(&name[n]) || (!escaped && want == Some(&'?')) {
            p += 1 + usize::from(escaped);
            n += 1;
        } else if let Some((at, matched)) = star {
            star = Some((at, matched + 1));
            (p, n) = (at + 1, matched + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}
