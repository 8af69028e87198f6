//! Who is notified, of what, and how.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri, header};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use ureq::tls::{Certificate, PemItem, parse_pem};

use super::error::Origin;
use super::section::{Found, Section};
use super::sections::plain_name;
use crate::template::Template;

/// What is told, and to whom.
#[derive(Debug, Clone)]
pub struct NotifyConfig {
    /// The page's address, without a slash at its end; notifications then link to it.
    pub public_url: Option<String>,
    /// How long a guest has to be down until it is told.
    pub down_after: Duration,
    /// How long it has to be up again until that is told.
    pub up_after: Duration,
    /// Who is told; none: nothing is.
    pub receivers: Vec<ReceiverConfig>,
}

impl Default for NotifyConfig {
    fn default() -> NotifyConfig {
        NotifyConfig {
            public_url: None,
            down_after: Duration::from_secs(60),
            up_after: Duration::from_secs(60),
            receivers: Vec::new(),
        }
    }
}

/// One receiver of notifications.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// Its name: a–z, 0–9 and `-`.
    pub name: String,
    /// Where it listens: http or https, with a host. Often a secret itself.
    pub url: SecretString,
    /// How it wants to be told.
    pub shape: Shape,
    /// The body, where that is not the shape's own.
    pub template: Option<Template>,
    /// More headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What stands in `Authorization` (Gotify: `X-Gotify-Key`).
    pub token: Option<SecretString>,
    /// What it is told.
    pub kinds: BTreeSet<NotificationKind>,
    /// Longest wait for its whole answer.
    pub timeout: Duration,
    /// The authorities that alone are believed, where those are not the well-known ones.
    pub authorities: Option<Vec<Certificate<'static>>>,
}

/// In which form a notification is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[ts(export, rename = "NotificationShape")]
#[schemars(rename = "NotificationShape")]
pub enum Shape {
    /// Our own fields.
    Json,
    /// ntfy's JSON; the last part of the address is the topic.
    Ntfy,
    /// Slack's incoming webhook.
    Slack,
    /// Discord's webhook.
    Discord,
    /// Gotify's message.
    Gotify,
}

impl Shape {
    const ALL: [Shape; 5] = [
        Shape::Json,
        Shape::Ntfy,
        Shape::Slack,
        Shape::Discord,
        Shape::Gotify,
    ];

    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Shape::Json => "json",
            Shape::Ntfy => "ntfy",
            Shape::Slack => "slack",
            Shape::Discord => "discord",
            Shape::Gotify => "gotify",
        }
    }

    /// Whether its addresses always hold a secret.
    const fn address_is_secret(self) -> bool {
        matches!(self, Shape::Slack | Shape::Discord)
    }
}

/// Of what a notification tells.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum NotificationKind {
    /// A check of readiness stands otherwise than it was told.
    ReadinessChanged,
    /// A guest has been down for a while.
    GuestDown,
    /// It has been up again for a while.
    GuestUp,
    /// The agent asks for leave.
    ApprovalWanted,
    /// A turn of the agent ended.
    TurnEnded,
    /// A verb that changes something ended.
    VerbEnded,
    /// Somebody tries out whether notifications arrive.
    Test,
}

impl NotificationKind {
    /// What a receiver may choose from; a test reaches everyone.
    pub const CHOICE: [NotificationKind; 6] = [
        NotificationKind::ReadinessChanged,
        NotificationKind::GuestDown,
        NotificationKind::GuestUp,
        NotificationKind::ApprovalWanted,
        NotificationKind::TurnEnded,
        NotificationKind::VerbEnded,
    ];

    /// The word in configuration and body.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            NotificationKind::ReadinessChanged => "readiness_changed",
            NotificationKind::GuestDown => "guest_down",
            NotificationKind::GuestUp => "guest_up",
            NotificationKind::ApprovalWanted => "approval_wanted",
            NotificationKind::TurnEnded => "turn_ended",
            NotificationKind::VerbEnded => "verb_ended",
            NotificationKind::Test => "test",
        }
    }
}

/// Longest `template`, in bytes.
const MAX_TEMPLATE: usize = 16 * 1024;
/// Most receivers: each has a thread.
const MAX_RECEIVERS: usize = 16;

/// `public_url`, `[notifications]` and each `[[notify]]`.
pub(crate) fn notify(root: &mut Section<'_>) -> NotifyConfig {
    let remedy = "write the page's address, as in \"https://rescue.example.org\"";
    let public_url = root.parsed("public_url", remedy, |text| {
        let plain = web_address(text)?;
        let fits = plain.query().is_none() && !text.contains('#');
        fits.then(|| text.trim_end_matches('/').to_owned())
            .ok_or_else(|| "is no plain address".to_owned())
    });
    let [down_after, up_after] = root.section("notifications", |section| {
        let mut wait = |key| Duration::from_secs(section.integer(key, 60, 1..=3600));
        [wait("guest_down_after_s"), wait("guest_up_after_s")]
    });
    let mut names = HashSet::new();
    let receivers = root.sections("notify", |section| receiver(section, &mut names));
    if receivers.len() > MAX_RECEIVERS {
        let problem = format!("has {} receivers", receivers.len());
        root.error("notify", problem, "name 16 at the most");
    }
    NotifyConfig {
        public_url,
        down_after,
        up_after,
        receivers: receivers.into_iter().flatten().collect(),
    }
}

fn receiver(section: &mut Section<'_>, names: &mut HashSet<String>) -> Option<ReceiverConfig> {
    if !section.has("name") {
        section.error("name", "is missing", "name the receiver, as in \"phone\"");
    }
    let name = section.parsed(
        "name",
        "use a–z, 0–9 and -, and each name once",
        |text| {
            let name = plain_name(text)?;
            let fresh = names.insert(name.clone());
            fresh
                .then_some(name)
                .ok_or_else(|| format!("{text:?} is there twice"))
        },
    );
    let remedy = "write json, ntfy, slack, discord or gotify";
    let shape = section
        .parsed("shape", remedy, |text| {
            let shape = Shape::ALL.into_iter().find(|shape| shape.as_str() == text);
            shape.ok_or_else(|| format!("{text:?} is no shape"))
        })
        .unwrap_or(Shape::Json);
    let url = address(section, shape);
    let template = section.parsed("template", TEMPLATE_REMEDY, |text| {
        if text.len() > MAX_TEMPLATE {
            return Err(format!(
                "has {} bytes, more than {MAX_TEMPLATE}",
                text.len()
            ));
        }
        Template::parse(text, shape == Shape::Ntfy)
    });
    let headers = section
        .list("headers", "write each as \"Name: value\"", header)
        .unwrap_or_default();
    let token = secret(section, "token_file").and_then(|found| {
        let fits = found.value.bytes().all(|byte| (32..127).contains(&byte));
        if !fits {
            let problem = "holds more than one line of plain text";
            let remedy = "put the token, and nothing else, into the file";
            section
                .report()
                .error(&found.origin, &found.key, problem, remedy);
        }
        fits.then(|| SecretString::from(found.value))
    });
    let kinds = section
        .list("events", KINDS_REMEDY, |text| {
            let known = NotificationKind::CHOICE.into_iter();
            let mut same = known.filter(|kind| kind.as_str() == text);
            same.next().ok_or_else(|| format!("{text:?} is no event"))
        })
        .unwrap_or_else(|| NotificationKind::CHOICE.to_vec());
    let timeout = Duration::from_secs(section.integer("timeout_s", 10, 1..=60));
    let authorities = authorities(section);
    Some(ReceiverConfig {
        name: name?,
        url: url?,
        shape,
        template,
        headers,
        token,
        kinds: kinds.into_iter().collect(),
        timeout,
        authorities,
    })
}

const TEMPLATE_REMEDY: &str =
    "write JSON with {{field}} between quotes; docs/notifications.md names the fields";
const KINDS_REMEDY: &str = "choose from readiness_changed, guest_down, guest_up, approval_wanted, \
                            turn_ended, verb_ended";
const ADDRESS_REMEDY: &str = "write one http or https address, as in \"https://host/path\", without \
                              a user in it; a token belongs into token_file";

/// `url_file`, or `url` where there is no secret in it.
fn address(section: &mut Section<'_>, shape: Shape) -> Option<SecretString> {
    let (in_file, here) = (section.has("url_file"), section.has("url"));
    if in_file == here {
        let problem = if here {
            "is there beside url"
        } else {
            "is missing"
        };
        let remedy = "put the receiver's address into a file and name that; url is for an address \
                      without a secret";
        section.error("url_file", problem, remedy);
    }
    let filed = secret(section, "url_file");
    let plain = section.text("url").filter(|found| {
        let open = matches!(found.origin, Origin::File { .. });
        let secret = shape.address_is_secret() || found.value.contains(['?', '@']);
        if open && secret {
            let remedy = "put it into a file and name that by url_file";
            let problem = "has a secret in it";
            section
                .report()
                .error(&found.origin, &found.key, problem, remedy);
        }
        !(open && secret)
    });
    let found = filed.or(plain)?;
    let judged = web_address(&found.value).and_then(|uri| match topic(&found.value) {
        None if shape == Shape::Ntfy => Err("has no topic at its end".to_owned()),
        _ => Ok(uri),
    });
    match judged {
        Ok(uri) => {
            if uri.scheme_str() == Some("http") && !is_loopback(&uri) {
                let problem = "is http: whoever listens on the way reads address, token and text";
                section.warn("url", problem, "use https");
            }
            Some(SecretString::from(found.value))
        }
        Err(problem) => {
            let report = section.report();
            report.error(&found.origin, &found.key, problem, ADDRESS_REMEDY);
            None
        }
    }
}

/// The last part of an address's path, ntfy's topic.
pub fn topic(address: &str) -> Option<&str> {
    let (_, path) = address.split_once("://")?.1.split_once('/')?;
    let path = path.split(['?', '#']).next()?.trim_end_matches('/');
    path.rsplit('/').next().filter(|topic| !topic.is_empty())
}

/// An error never shows the address: it may be a secret.
fn web_address(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "is no address".to_owned())?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    let user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
    if !web || !host {
        return Err("is no http or https address".to_owned());
    }
    if user {
        return Err("has a user in it".to_owned());
    }
    Ok(uri)
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The one line of a file that is a secret.
fn secret(section: &mut Section<'_>, key: &'static str) -> Option<Found<String>> {
    let found = section.file(key)?;
    let (path, text) = &found.value;
    section.note_secret(path, &found.origin, &found.key);
    let text = text.trim();
    if text.is_empty() {
        let problem = format!("{} is empty", path.display());
        let report = section.report();
        report.error(&found.origin, &found.key, problem, "put the secret into it");
        return None;
    }
    Some(Found {
        value: text.to_owned(),
        origin: found.origin,
        key: found.key,
    })
}

/// What is ours to set, or has a place of its own.
const TAKEN: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("idempotency-key"),
];

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("has no colon")?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| "has no header's name".to_owned())?;
    if TAKEN.contains(&name) {
        return Err(format!(
            "sets {name}, which is not free; a token belongs into token_file"
        ));
    }
    let value = HeaderValue::from_str(value.trim());
    let mut value = value.map_err(|_| format!("{name} has no header's value"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn authorities(section: &mut Section<'_>) -> Option<Vec<Certificate<'static>>> {
    let found = section.file("ca_file")?;
    let (path, text) = &found.value;
    let certificates = parse_pem(text.as_bytes()).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() {
        let problem = format!("{} holds no certificate", path.display());
        let remedy = "name a file with the authority's certificate in PEM";
        section
            .report()
            .error(&found.origin, &found.key, problem, remedy);
    }
    Some(certificates)
}
