//! Verbs and verdicts in JSON. `breakglass-verbs` has no dependencies, so that the gate has none, and what serde,
//! ts-rs and schemars need of its types is here.
//!
//! A field of such a type is written as `#[serde(with = "word")] #[ts(as = "VerbWord")] #[schemars(with =
//! "VerbWord")]`; [`optional`] is for one that may be missing.

use std::fmt::Display;

use breakglass_verbs::{Verb, Verdict};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serializer};
use ts_rs::TS;

/// A type that is one string in JSON: its `Display`.
pub trait Word: Display + Sized {
    /// How an error names it.
    const NAME: &'static str;

    /// The value whose `Display` is `text`.
    fn parse(text: &str) -> Option<Self>;
}

impl Word for Verb {
    const NAME: &'static str = "verb";

    fn parse(text: &str) -> Option<Verb> {
        Verb::parse(text)
    }
}

impl Word for Verdict {
    const NAME: &'static str = "verdict";

    fn parse(text: &str) -> Option<Verdict> {
        Verdict::parse(text)
    }
}

/// Writes the word.
///
/// # Errors
/// The serializer's.
pub fn serialize<T: Word, S: Serializer>(word: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(word)
}

/// Reads the word.
///
/// # Errors
/// If it is unknown here.
pub fn deserialize<'de, T: Word, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    T::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown {} {text:?}", T::NAME)))
}

/// The same for a field that may be missing: use it with `default` and `skip_serializing_if`.
pub mod optional {
    use super::{Deserialize, Deserializer, Serializer, Word};

    /// Writes the word, or null.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<T: Word, S: Serializer>(
        word: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match word {
            Some(word) => serializer.collect_str(word),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the word, or null.
    ///
    /// # Errors
    /// If it is unknown here.
    pub fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let word = T::parse(&text);
        let unknown = || serde::de::Error::custom(format!("unknown {} {text:?}", T::NAME));
        word.map(Some).ok_or_else(unknown)
    }
}

/// One word that the gate accepts.
#[derive(TS)]
#[ts(
    export,
    rename = "Verb",
    type = "'status' | 'forensics' | 'vitals' | 'screenshot' | 'start' | 'stop' | 'reset' | 'cycle'"
)]
pub struct VerbWord;

impl JsonSchema for VerbWord {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Verb".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One word that the gate accepts.",
            "type": "string",
            "enum": Verb::ALL.map(Verb::as_str),
        })
    }
}

/// What the evidence says of the guest after a verb; earlier gates said `will be undone`.
#[derive(TS)]
#[ts(
    export,
    rename = "Verdict",
    type = "'running' | 'stopped' | 'monitor-dead' | 'unkillable (D state)' | `locked (${string})` | 'ha-managed (requested; HA decides)' | 'ha-managed (will be undone)' | `unknown (${string})`"
)]
pub struct VerdictWord;

impl JsonSchema for VerdictWord {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Verdict".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What the evidence says of the guest after a verb; earlier gates said `will be undone`.",
            "type": "string",
            "pattern": r"^(running|stopped|monitor-dead|unkillable \(D state\)|ha-managed \((requested; HA decides|will be undone)\)|(locked|unknown) \(.*\))$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_knows_every_verb() {
        let words = Verb::ALL.map(|verb| format!("'{verb}'"));
        assert_eq!(
            VerbWord::inline(&ts_rs::Config::default()),
            words.join(" | ")
        );
    }
}
