//! Fills the `template` of a receiver with a notification.

use breakglass_config::{Field, Template};

use crate::notification::{Notification, level_name};

/// The JSON body for `notification`.
pub(crate) fn render(template: &Template, notification: &Notification) -> String {
    template.fill(|field| value(field, notification))
}

fn value(field: Field, notification: &Notification) -> String {
    let optional = |field: &Option<String>| field.clone().unwrap_or_default();
    match field {
        Field::Id => notification.id.clone(),
        Field::At => notification.at.clone(),
        Field::Kind => notification.kind.as_str().to_owned(),
        Field::Level => level_name(notification.level).to_owned(),
        Field::Title => notification.title.clone(),
        Field::Text => notification.text.clone(),
        Field::Target => optional(&notification.target),
        Field::Incident => optional(&notification.incident),
        Field::Link => optional(&notification.link),
        Field::Priority => priority(notification.level).to_string(),
    }
}

/// The urgency from 1 to 5, as ntfy defines it.
pub(crate) const fn priority(level: breakglass_model::Level) -> u8 {
    match level {
        breakglass_model::Level::Info => 3,
        breakglass_model::Level::Warning => 4,
        breakglass_model::Level::Error => 5,
    }
}

#[cfg(test)]
mod tests {
    use breakglass_config::NotificationKind;
    use breakglass_model::Level;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn notification(title: &str, text: &str) -> Notification {
        let mut notification =
            Notification::new("7", NotificationKind::VerbEnded, Level::Error, "", "");
        title.clone_into(&mut notification.title);
        text.clone_into(&mut notification.text);
        notification
    }

    proptest! {
        #[test]
        fn hostile_text_stays_inside_its_json_string(title: String, text: String) {
            let template = r#"{"t": "<{{title}}>", "n": {{ priority }}, "x": ["{{text}}{{link}}"]}"#;
            let body = render(&Template::parse(template, true).unwrap(), &notification(&title, &text));
            let value: Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(value["t"].as_str().unwrap(), format!("<{title}>"));
            prop_assert_eq!(value["x"][0].as_str().unwrap(), text);
            prop_assert_eq!(&value["n"], &Value::from(5));
        }

        #[test]
        fn accepted_template_is_valid_json_for_any_text(template in "[{}\\[\\]\":,\\\\ntlevix ]{0,30}", title: String) {
            for template in [template.clone(), format!("\"{template}{{{{title}}}}\""), format!("[{template}{{{{text}}}}]")] {
                if let Ok(template) = Template::parse(&template, false) {
                    let body = render(&template, &notification(&title, &title));
                    prop_assert!(serde_json::from_str::<Value>(&body).is_ok(), "{}", body);
                }
            }
        }
    }
}
