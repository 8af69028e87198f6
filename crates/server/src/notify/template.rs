//! The operator's own body: JSON in which `{{field}}` stands for what is told.

use serde_json::Value;

use super::notification::{Notification, word};

/// What can stand between the braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    At,
    Kind,
    Level,
    Title,
    Text,
    Target,
    Incident,
    Link,
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

    fn of(self, notification: &Notification) -> String {
        let optional = |field: &Option<String>| field.clone().unwrap_or_default();
        match self {
            Field::Id => notification.id.clone(),
            Field::At => notification.at.clone(),
            Field::Kind => notification.kind.as_str().to_owned(),
            Field::Level => word(notification.level).to_owned(),
            Field::Title => notification.title.clone(),
            Field::Text => notification.text.clone(),
            Field::Target => optional(&notification.target),
            Field::Incident => optional(&notification.incident),
            Field::Link => optional(&notification.link),
            Field::Priority => priority(notification.level).to_string(),
        }
    }
}

/// Urgency from 1 to 5, as ntfy counts.
pub(super) const fn priority(level: breakglass_model::Level) -> u8 {
    match level {
        breakglass_model::Level::Info => 3,
        breakglass_model::Level::Warning => 4,
        breakglass_model::Level::Error => 5,
    }
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
    pub(crate) fn parse(text: &str, object: bool) -> Result<Template, String> {
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

    /// The body for one notification: JSON.
    pub(super) fn render(&self, notification: &Notification) -> String {
        self.fill(|field| field.of(notification))
    }

    fn fill(&self, value: impl Fn(Field) -> String) -> String {
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
    use breakglass_model::Level;
    use proptest::prelude::*;

    use super::*;
    use crate::config::NotificationKind;

    fn told(title: &str, text: &str) -> Notification {
        let kind = NotificationKind::VerbEnded;
        let mut told = Notification::new("7", kind, Level::Error, "", "");
        (told.title, told.text) = (title.to_owned(), text.to_owned());
        told
    }

    proptest! {
        #[test]
        fn hostile_text_stays_between_its_quotes(title: String, text: String) {
            let template = r#"{"t": "<{{title}}>", "n": {{ priority }}, "x": ["{{text}}{{link}}"]}"#;
            let body = Template::parse(template, true).unwrap().render(&told(&title, &text));
            let value: Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(value["t"].as_str().unwrap(), format!("<{title}>"));
            prop_assert_eq!(value["x"][0].as_str().unwrap(), text);
            prop_assert_eq!(&value["n"], &Value::from(5));
        }

        #[test]
        fn what_is_accepted_is_json_for_any_text(template in "[{}\\[\\]\":,\\\\ntlevix ]{0,30}", title: String) {
            for template in [template.clone(), format!("\"{template}{{{{title}}}}\""), format!("[{template}{{{{text}}}}]")] {
                if let Ok(template) = Template::parse(&template, false) {
                    let body = template.render(&told(&title, &title));
                    prop_assert!(serde_json::from_str::<Value>(&body).is_ok(), "{}", body);
                }
            }
        }
    }

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
