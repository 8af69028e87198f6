//! The operator's own body: JSON in which `{{field}}` stands for what is told.

use serde_json::Value;

/// What can stand between the braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The id, the same for each delivery.
    Id,
    /// The time, RFC 3339.
    At,
    /// The kind.
    Kind,
    /// The severity.
    Level,
    /// The title.
    Title,
    /// The sentences.
    Text,
    /// The target, or empty.
    Target,
    /// The incident, or empty.
    Incident,
    /// The address on the page, or empty.
    Link,
    /// The urgency from 1 to 5: a number, so it belongs outside quotes.
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
    Written(String),
    Field(Field),
}

/// A body that is JSON whatever is put into it: that was tried when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Reads a template; with `object`, the JSON has to be an object.
    ///
    /// # Errors
    /// A sentence: a field that there is not, or no JSON.
    pub fn parse(text: &str, object: bool) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((written, after)) = rest.split_once("{{") {
            let (name, after) = after
                .split_once("}}")
                .ok_or("has a {{ without its }}".to_owned())?;
            let name = name.trim();
            let known = Field::ALL.iter().find(|(word, _)| *word == name);
            let (_, field) = known.ok_or_else(|| unknown(name))?;
            parts.push(Part::Written(written.to_owned()));
            parts.push(Part::Field(*field));
            rest = after;
        }
        parts.push(Part::Written(rest.to_owned()));
        let template = Template(parts);
        for probe in ["\"\\\n}]", "x"] {
            let filled = template.fill(|field| match field {
                Field::Priority => "3".to_owned(),
                _ => probe.to_owned(),
            });
            match serde_json::from_str::<Value>(&filled) {
                Err(_) => return Err(NO_JSON.to_owned()),
                Ok(value) if object && !value.is_object() => {
                    return Err("is no JSON object".to_owned());
                }
                Ok(_) => {}
            }
        }
        Ok(template)
    }

    /// The body with `value` for each field, escaped for JSON.
    #[must_use]
    pub fn fill(&self, value: impl Fn(Field) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Written(text) => text.clone(),
            Part::Field(field) => escaped(&value(*field)),
        };
        self.0.iter().map(part).collect()
    }
}

const NO_JSON: &str =
    "is no JSON once it is filled in: fields but {{priority}} belong between quotes";

fn unknown(name: &str) -> String {
    let known: Vec<&str> = Field::ALL.iter().map(|(word, _)| *word).collect();
    format!(
        "has no field {{{{{name}}}}}; there are {}",
        known.join(", ")
    )
}

/// As it stands between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let inner = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_would_be_no_json_or_names_no_field_is_refused() {
        for (template, part) in [
            (r#"{"a": {{title}}}"#, "no JSON"),
            (r#"{"a": "{{title}}""#, "no JSON"),
            (r#"{"a": "\{{title}}"}"#, "no JSON"),
            ("{{title}}", "no JSON"),
            (
                r#"{"a": "{{secret}}"}"#,
                "no field {{secret}}; there are id, at",
            ),
            (r#"{"a": "{{title"}"#, "without its }}"),
            (r#"["{{title}}"]"#, "no JSON object"),
        ] {
            let refused = Template::parse(template, true).unwrap_err();
            assert!(refused.contains(part), "{template}: {refused}");
        }
    }
}
