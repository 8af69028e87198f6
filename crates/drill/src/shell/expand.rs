//! Turns words into arguments: variables, substitutions, splitting at blanks, names that match.

use super::Shell;
use super::syntax::{Piece, Word};
use crate::machine::{Disk, resolve};

/// Names that one pattern may become.
const MAX_MATCHES: usize = 1024;

/// One argument in the making. A backslash before a character marks it as standing for itself.
#[derive(Default)]
struct Field {
    pattern: String,
    present: bool,
}

impl Field {
    fn push_literal(&mut self, text: &str) {
        self.present = true;
        for c in text.chars() {
            if "*?\\".contains(c) {
                self.pattern.push('\\');
            }
            self.pattern.push(c);
        }
    }
}

impl Shell {
    /// The arguments that `words` stand for.
    pub(super) fn expand(&mut self, words: &[Word]) -> Vec<String> {
        let mut all = Vec::new();
        for word in words {
            for field in self.fields(word) {
                all.extend(self.matches(&field));
            }
        }
        all
    }

    /// The one string that `word` stands for, as a redirect's target: neither split nor matched.
    pub(super) fn expand_one(&mut self, word: &Word) -> String {
        let fields = self.fields(word);
        fields
            .iter()
            .map(|field| unescape(field))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn fields(&mut self, word: &Word) -> Vec<String> {
        let mut fields = vec![Field::default()];
        for piece in &word.0 {
            match piece {
                Piece::Quoted(text) => last(&mut fields).push_literal(text),
                Piece::Bare(text) => {
                    let field = last(&mut fields);
                    field.present = true;
                    field.pattern.push_str(text);
                }
                Piece::Variable { name, quoted } => {
                    let value = self.variable(name);
                    push_value(&mut fields, &value, *quoted);
                }
                Piece::Substitution { script, quoted } => {
                    let value = self.substitute(script);
                    push_value(&mut fields, &value, *quoted);
                }
            }
        }
        fields
            .into_iter()
            .filter(|field| field.present)
            .map(|field| field.pattern)
            .collect()
    }

    fn matches(&self, pattern: &str) -> Vec<String> {
        if !has_wildcard(pattern) {
            return vec![unescape(pattern)];
        }
        let found = self
            .machine
            .step(|state, _| glob(&state.guest.disk, &self.cwd, pattern));
        if found.is_empty() {
            vec![unescape(pattern)]
        } else {
            found
        }
    }
}

fn last(fields: &mut Vec<Field>) -> &mut Field {
    if fields.is_empty() {
        fields.push(Field::default());
    }
    let end = fields.len() - 1;
    &mut fields[end]
}

fn push_value(fields: &mut Vec<Field>, value: &str, quoted: bool) {
    if quoted {
        last(fields).push_literal(value);
        return;
    }
    for (index, part) in value.split_whitespace().enumerate() {
        if index > 0 {
            fields.push(Field::default());
        }
        last(fields).push_literal(part);
    }
}

fn has_wildcard(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '*' | '?' => return true,
            _ => {}
        }
    }
    false
}

fn unescape(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            text.extend(chars.next());
        } else {
            text.push(c);
        }
    }
    text
}

/// Names on `disk` that match `pattern`, sorted, written as the pattern was: absolute or not.
fn glob(disk: &Disk, cwd: &str, pattern: &str) -> Vec<String> {
    let absolute = pattern.starts_with('/');
    let mut found = vec![if absolute {
        String::new()
    } else {
        cwd.trim_end_matches('/').to_owned()
    }];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = found
            .iter()
            .flat_map(|dir| step(disk, dir, part))
            .take(MAX_MATCHES)
            .collect();
    }
    let prefix = format!("{}/", cwd.trim_end_matches('/'));
    let relative = |name: String| {
        name.strip_prefix(&prefix)
            .map(str::to_owned)
            .unwrap_or(name)
    };
    if absolute {
        found
    } else {
        found.into_iter().map(relative).collect()
    }
}

fn step(disk: &Disk, dir: &str, part: &str) -> Vec<String> {
    if !has_wildcard(part) {
        let path = resolve(dir, &unescape(part));
        return if disk.get(&path).is_ok() {
            vec![path]
        } else {
            Vec::new()
        };
    }
    let dir_name = if dir.is_empty() { "/" } else { dir };
    let children = disk.children(dir_name);
    let visible = |name: &str| part.starts_with('.') || !name.starts_with('.');
    children
        .iter()
        .filter(|(n, _)| visible(n) && like(part, n))
        .map(|(n, _)| format!("{dir}/{n}"))
        .collect()
}

/// Whether `name` matches `pattern` as a shell's `*` and `?` do. Linear in practice, never
/// exponential: only the last star is ever taken back.
pub(super) fn like(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
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
