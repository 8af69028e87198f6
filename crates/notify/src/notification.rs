//! One thing that is told.

use breakglass_model::{Level, bounded, clock, visible};
use serde::{Deserialize, Serialize};

use breakglass_config::NotificationKind;

/// Longest title and text, in bytes: what the narrowest receiver takes, escaped, with its link.
const MAX_TITLE: usize = 120;
const MAX_TEXT: usize = 700;

/// What receivers are told. Holds no secret and nothing that a command printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notification {
    /// The same however often it is sent: a receiver can know it again.
    pub id: String,
    /// When it happened; RFC 3339 in UTC.
    pub at: String,
    /// Of what it tells.
    pub kind: NotificationKind,
    /// How grave it is.
    pub level: Level,
    /// A few words.
    pub title: String,
    /// One sentence or two.
    pub text: String,
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Where the page shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Notification {
    /// Of this moment, about no machine in particular. What a screen would obey is made visible.
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
            title: bounded(&visible(title), MAX_TITLE).0,
            text: bounded(&visible(text), MAX_TEXT).0,
            target: None,
            incident: None,
            link: None,
        }
    }

    /// With the place on the page, if the page's address is known.
    pub(crate) fn linked(mut self, public_url: Option<&str>) -> Notification {
        let place = match &self.incident {
            // The live view while it is open, and its replay afterwards.
            Some(incident) => format!("#/incident/{incident}"),
            None if self.kind == NotificationKind::ReadinessChanged => "#/readiness".to_owned(),
            None => String::new(),
        };
        self.link = public_url.map(|url| format!("{url}/{place}"));
        self
    }
}

/// The word for a level.
pub(crate) const fn word(level: Level) -> &'static str {
    match level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}
