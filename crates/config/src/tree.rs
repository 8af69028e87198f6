//! The configuration as it was written, not yet validated: each value with its origin.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{Origin, Problems};

/// Keys and values of one section.
pub(crate) type Table = BTreeMap<String, Node>;

/// A value and its origin.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub value: Value,
    pub origin: Origin,
}

/// A value of the file. A value from a variable is always [`Value::Text`]; the reader of the key converts it.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// A type that no key accepts, by name.
    Other(&'static str),
}

impl Value {
    /// The value's type, for errors.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a section",
            Value::Other(name) => name,
        }
    }
}

/// Parses TOML. Reports every syntax error, and returns the part that could be parsed.
pub(crate) fn parse(path: &Path, source: &str, problems: &mut Problems) -> Table {
    let (document, errors) = DeTable::parse_recoverable(source);
    let file = File { path, source };
    for error in errors {
        let origin = file.at(error.span().map_or(0, |span| span.start));
        problems.error(
            &origin,
            "(syntax)",
            error.message(),
            "correct this line: it is not valid TOML",
        );
    }
    file.table(document.get_ref())
}

struct File<'a> {
    path: &'a Path,
    source: &'a str,
}

impl File<'_> {
    fn at(&self, offset: usize) -> Origin {
        let before = self.source.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|&&byte| byte == b'\n').count();
        Origin::File {
            path: self.path.to_owned(),
            line,
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &toml::de::DeString<'_> = key.get_ref();
            let origin = self.at(value.span().start);
            (
                key.clone().into_owned(),
                Node {
                    value: self.value(value.get_ref()),
                    origin,
                },
            )
        };
        table.iter().map(entry).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Boolean(on) => Value::Boolean(*on),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_or(Value::Other("a number too large"), Value::Integer),
            DeValue::Float(_) => Value::Other("a fraction"),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .map(|item| Node {
                        value: self.value(item.get_ref()),
                        origin: self.at(item.span().start),
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }
}
