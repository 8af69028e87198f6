//! A receiver's `template`: a JSON body of the operator's own with `{{field}}` placeholders.

use serde_json::Value;

/// A placeholder's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The id, the same for each delivery.
    Id,
    /// The time of the event, RFC 3339 in UTC.
    At,
    /// The kind of notification.
    Kind,
    /// The severity.
    Level,
    /// The title.
    Title,
    /// The text.
    Text,
    /// The target's name, or empty.
    Target,
    /// The incident's id, or empty.
    Incident,
    /// The link to the page, or empty.
    Link,
    /// The urgency from 1 to 5; a number, so the placeholder needs no quotes.
    Priority,
}

impl Field {
    const ALL: [(&'static str, Field); 10] = [
        ("id", Field::Id),
        ("at", Field::At),
        ("kind", Field::Kind),
        ("level", Field::Level),
        ("title", Field::Title),
        ("text", Field::Text),
        ("target", Field::Target),
        ("incident", Field::Incident),
        ("link", Field::Link),
        ("priority", Field::Priority),
    ];
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(Field),
}

/// A body that is valid JSON for all values of its fields, which was verified when it was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Parses a template. With `object`, the JSON must be an object.
    ///
    /// # Errors
    /// The problem: an unknown field, or invalid JSON.
    pub fn parse(text: &str, object: bool) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, after) = after
                .split_once("}}")
                .ok_or("has a {{ without a }}".to_owned())?;
            let name = name.trim();
            let known = Field::ALL.iter().find(|(word, _)| *word == name);
            let (_, field) = known.ok_or_else(|| unknown(name))?;
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(Part::Field(*field));
            rest = after;
        }
        parts.push(Part::Literal(rest.to_owned()));
        let template = Template(parts);
        for probe in ["\"\\\n}]", "x"] {
            let filled = template.fill(|field| match field {
                Field::Priority => "3".to_owned(),
                _ => probe.to_owned(),
            });
            match serde_json::from_str::<Value>(&filled) {
                Err(_) => return Err(INVALID_JSON.to_owned()),
                Ok(value) if object && !value.is_object() => {
                    return Err("is not a JSON object".to_owned());
                }
                Ok(_) => {}
            }
        }
        Ok(template)
    }

    /// The body with `value(field)` for each field, escaped for JSON.
    #[must_use]
    pub fn fill(&self, value: impl Fn(Field) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Field(field) => escaped(&value(*field)),
        };
        self.0.iter().map(part).collect()
    }
}

const INVALID_JSON: &str =
    "is not valid JSON once it is filled in: put every field but {{priority}} between quotes";

fn unknown(name: &str) -> String {
    let known: Vec<&str> = Field::ALL.iter().map(|(word, _)| *word).collect();
    format!(
        "has the unknown field {{{{{name}}}}}; the fields are {}",
        known.join(", ")
    )
}

/// The text as the inside of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let inner = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_with_invalid_json_or_unknown_field_is_refused() {
        for (template, part) in [
            (r#"{"a": {{title}}}"#, "not valid JSON"),
            (r#"{"a": "{{title}}""#, "not valid JSON"),
            (r#"{"a": "\{{title}}"}"#, "not valid JSON"),
            ("{{title}}", "not valid JSON"),
            (
                r#"{"a": "{{secret}}"}"#,
                "unknown field {{secret}}; the fields are id, at",
            ),
            (r#"{"a": "{{title"}"#, "without a }}"),
            (r#"["{{title}}"]"#, "not a JSON object"),
        ] {
            let refused = Template::parse(template, true).unwrap_err();
            assert!(refused.contains(part), "{template}: {refused}");
        }
    }
}
