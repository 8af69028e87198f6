//! One notification.

use breakglass_model::{Level, bounded, clock, visible};
use serde::{Deserialize, Serialize};

use breakglass_config::NotificationKind;

/// Maximum length of a title. Title, text and link fit, escaped, into the smallest limit of a receiver.
const TITLE_MAX_BYTES: usize = 120;
/// Maximum length of a text.
const TEXT_MAX_BYTES: usize = 700;

/// A notification. Contains no secret and no output of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notification {
    /// The same for every delivery, so that a receiver can recognise repetitions.
    pub id: String,
    /// The time of the event, RFC 3339 in UTC.
    pub at: String,
    /// Its kind.
    pub kind: NotificationKind,
    /// Its severity.
    pub level: Level,
    /// A few words.
    pub title: String,
    /// One or two sentences.
    pub text: String,
    /// The target's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The incident's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Address on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Notification {
    /// A notification with the current time and without a target. Control characters are made visible.
    pub(crate) fn new(
        id: &str,
        kind: NotificationKind,
        level: Level,
        title: &str,
        text: &str,
    ) -> Notification {
        let plain = |c: char| if c.is_ascii_graphic() { c } else { '-' };
        Notification {
            id: id.chars().take(200).map(plain).collect(),
            at: clock::now(),
            kind,
            level,
            title: bounded(&visible(title), TITLE_MAX_BYTES).0,
            text: bounded(&visible(text), TEXT_MAX_BYTES).0,
            target: None,
            incident: None,
            link: None,
        }
    }

    /// Adds the link to the page, if the page's address is known.
    pub(crate) fn linked(mut self, public_url: Option<&str>) -> Notification {
        let fragment = match &self.incident {
            // The page shows the live view of an open incident, and the replay of a closed one.
            Some(incident) => format!("#/incident/{incident}"),
            None if self.kind == NotificationKind::ReadinessChanged => "#/readiness".to_owned(),
            None => String::new(),
        };
        self.link = public_url.map(|url| format!("{url}/{fragment}"));
        self
    }
}

/// The name of a level in messages.
pub(crate) const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}
