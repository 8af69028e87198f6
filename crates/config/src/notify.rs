//! `[notifications]`: who is notified, of what, and how.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri, header};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use ureq::tls::{Certificate, PemItem, parse_pem};

use super::error::Origin;
use super::reader::{SectionReader, Setting};
use super::sections::plain_name;
use crate::template::Template;

/// The settings of notifications.
#[derive(Debug, Clone)]
pub struct NotifyConfig {
    /// The page's address without a trailing slash, for links in notifications.
    pub public_url: Option<String>,
    /// How long a guest must be down, or up again, before that is notified.
    pub guest_state_after: Duration,
    /// The receivers; without any, nothing is notified.
    pub receivers: Vec<ReceiverConfig>,
}

impl Default for NotifyConfig {
    fn default() -> NotifyConfig {
        NotifyConfig {
            public_url: None,
            guest_state_after: Duration::from_secs(60),
            receivers: Vec::new(),
        }
    }
}

/// One receiver of notifications.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// Its name: a–z, 0–9 and `-`.
    pub name: String,
    /// Its address: http or https, with a host. Often a secret itself.
    pub url: SecretString,
    /// The format that it expects.
    pub shape: Shape,
    /// The body, if it is not that of the shape.
    pub template: Option<Template>,
    /// Additional headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The token for `Authorization: Bearer` (Gotify: `X-Gotify-Key`).
    pub token: Option<SecretString>,
    /// The kinds of notifications that it gets.
    pub kinds: BTreeSet<NotificationKind>,
    /// Timeout of its complete answer.
    pub timeout: Duration,
    /// The only trusted certificate authorities, if they are not the well-known ones.
    pub authorities: Option<Vec<Certificate<'static>>>,
}

/// The format of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[ts(export, rename = "NotificationShape")]
#[schemars(rename = "NotificationShape")]
pub enum Shape {
    /// Our own fields.
    Json,
    /// ntfy's JSON; the last part of the address's path is the topic.
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

    /// Whether its addresses always contain a secret.
    const fn address_is_secret(self) -> bool {
        matches!(self, Shape::Slack | Shape::Discord)
    }
}

/// The kind of a notification.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum NotificationKind {
    /// A check of readiness has another state than last notified.
    ReadinessChanged,
    /// A guest has been down for a while.
    GuestDown,
    /// It has been up again for a while.
    GuestUp,
    /// The agent asks for permission.
    ApprovalWanted,
    /// A turn of the agent ended.
    TurnEnded,
    /// A mutating verb ended.
    VerbEnded,
    /// An operator tests whether notifications arrive.
    Test,
}

impl NotificationKind {
    /// The kinds that a receiver can choose; every receiver gets tests.
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

/// Maximum size of `template`.
const TEMPLATE_MAX_BYTES: usize = 16 * 1024;
/// Maximum number of receivers; each has a thread.
const RECEIVERS_MAX: usize = 16;

/// Reads `[notifications]`.
pub(crate) fn notify(section: &mut SectionReader<'_>) -> NotifyConfig {
    let remedy = "write the page's address, as in \"https://rescue.example.org\"";
    let public_url = section.parsed("public_url", remedy, |text| {
        if web_address(text)?.query().is_some() || text.contains('#') {
            return Err("has a query or a fragment".to_owned());
        }
        Ok(text.trim_end_matches('/').to_owned())
    });
    let seconds = section.integer("guest_down_after_s", 60, 1..=3600);
    let mut names = HashSet::new();
    let receivers = section.sections("receivers", |section| receiver(section, &mut names));
    if receivers.len() > RECEIVERS_MAX {
        let problem = format!("has {} entries", receivers.len());
        section.error("receivers", problem, "describe at most 16");
    }
    NotifyConfig {
        public_url,
        guest_state_after: Duration::from_secs(seconds),
        receivers: receivers.into_iter().flatten().collect(),
    }
}

fn receiver(
    section: &mut SectionReader<'_>,
    names: &mut HashSet<String>,
) -> Option<ReceiverConfig> {
    if !section.has("name") {
        section.error("name", "is missing", "name the receiver, as in \"phone\"");
    }
    let name = section.parsed(
        "name",
        "use a–z, 0–9 and -, and each name once",
        |text| {
            let name = plain_name(text)?;
            if names.insert(name.clone()) {
                Ok(name)
            } else {
                Err(format!("{text:?} is used twice"))
            }
        },
    );
    let remedy = "write json, ntfy, slack, discord or gotify";
    let shape = section
        .parsed("shape", remedy, |text| {
            let shape = Shape::ALL.into_iter().find(|shape| shape.as_str() == text);
            shape.ok_or_else(|| format!("{text:?} is not a shape"))
        })
        .unwrap_or(Shape::Json);
    let url = address(section, shape);
    let template = section.parsed("template", TEMPLATE_REMEDY, |text| {
        if text.len() > TEMPLATE_MAX_BYTES {
            return Err(format!(
                "has {} bytes, more than {TEMPLATE_MAX_BYTES}",
                text.len()
            ));
        }
        Template::parse(text, shape == Shape::Ntfy)
    });
    let headers = section
        .list("headers", "write each as \"Name: value\"", header)
        .unwrap_or_default();
    let token = secret(section, "token_file").and_then(|found| {
        let is_printable = |byte| (32..127).contains(&byte);
        if found.value.bytes().all(is_printable) {
            return Some(SecretString::from(found.value));
        }
        let problem = "contains more than one line of plain text";
        let remedy = "put the token, and nothing else, into the file";
        section
            .problems()
            .error(&found.origin, &found.key, problem, remedy);
        None
    });
    let kinds = section
        .list("events", KINDS_REMEDY, |text| {
            let known = NotificationKind::CHOICE.into_iter();
            let mut same = known.filter(|kind| kind.as_str() == text);
            same.next()
                .ok_or_else(|| format!("{text:?} is not an event"))
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
                              a user name; a token belongs in token_file";

/// Reads the receiver's address from `url_file`, or from `url` if it contains no secret.
fn address(section: &mut SectionReader<'_>, shape: Shape) -> Option<SecretString> {
    let has_url = section.has("url");
    if section.has("url_file") == has_url {
        let problem = if has_url {
            "is set in addition to url"
        } else {
            "is missing"
        };
        let remedy = "put the receiver's address into a file and name the file here; url is for an \
                      address without a secret";
        section.error("url_file", problem, remedy);
    }
    let from_file = secret(section, "url_file");
    let plain = section.text("url").filter(|found| {
        // A variable is not readable for everyone, so it may contain a secret.
        let in_config_file = matches!(found.origin, Origin::File { .. });
        let has_secret = shape.address_is_secret() || found.value.contains(['?', '@']);
        if in_config_file && has_secret {
            let remedy = "put the address into a file and name the file with url_file";
            let problem = "contains a secret";
            section
                .problems()
                .error(&found.origin, &found.key, problem, remedy);
        }
        !(in_config_file && has_secret)
    });
    let found = from_file.or(plain)?;
    let checked = web_address(&found.value).and_then(|uri| match topic(&found.value) {
        None if shape == Shape::Ntfy => Err("has no topic at its end".to_owned()),
        _ => Ok(uri),
    });
    match checked {
        Ok(uri) => {
            if uri.scheme_str() == Some("http") && !is_loopback(&uri) {
                let problem = "is http: address, token and text are readable on the network";
                section.warn("url", problem, "use https");
            }
            Some(SecretString::from(found.value))
        }
        Err(problem) => {
            let problems = section.problems();
            problems.error(&found.origin, &found.key, problem, ADDRESS_REMEDY);
            None
        }
    }
}

/// The last part of an address's path, which is ntfy's topic.
pub fn topic(address: &str) -> Option<&str> {
    let (_, path) = address.split_once("://")?.1.split_once('/')?;
    let path = path.split(['?', '#']).next()?.trim_end_matches('/');
    path.rsplit('/').next().filter(|topic| !topic.is_empty())
}

/// Parses an http or https address. The error does not contain the address, which may be a secret.
fn web_address(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "is not an address".to_owned())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
    if !is_web || !has_host {
        return Err("is not an http or https address".to_owned());
    }
    if has_user {
        return Err("contains a user name".to_owned());
    }
    Ok(uri)
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Reads the file with a secret that `key` names.
fn secret(section: &mut SectionReader<'_>, key: &'static str) -> Option<Setting<String>> {
    let found = section.file(key)?;
    let (path, text) = &found.value;
    section.note_secret(path, &found.origin, &found.key);
    let text = text.trim();
    if text.is_empty() {
        let problem = format!("{} is empty", path.display());
        let problems = section.problems();
        problems.error(&found.origin, &found.key, problem, "put the secret into it");
        return None;
    }
    Some(Setting {
        value: text.to_owned(),
        origin: found.origin,
        key: found.key,
    })
}

/// Headers that breakglass sets, or that have a key of their own.
const RESERVED_HEADERS: [HeaderName; 7] = [
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
    let name =
        HeaderName::try_from(name.trim()).map_err(|_| "has no valid header name".to_owned())?;
    if RESERVED_HEADERS.contains(&name) {
        return Err(format!(
            "sets {name}, which is reserved; a token belongs in token_file"
        ));
    }
    let value = HeaderValue::from_str(value.trim());
    let mut value = value.map_err(|_| format!("{name} has no valid value"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn authorities(section: &mut SectionReader<'_>) -> Option<Vec<Certificate<'static>>> {
    let found = section.file("ca_file")?;
    let (path, text) = &found.value;
    let certificates = parse_pem(text.as_bytes()).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() {
        let problem = format!("{} contains no certificate", path.display());
        let remedy = "name a file with the authority's certificate in PEM";
        section
            .problems()
            .error(&found.origin, &found.key, problem, remedy);
    }
    Some(certificates)
}
