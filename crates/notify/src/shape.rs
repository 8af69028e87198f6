//! What each kind of receiver wants to be sent.

use crate::template::render;
use breakglass_config::Template;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::notification::Notification;
use super::template::priority;
use breakglass_config::{ReceiverConfig, Shape, topic};

/// Longest text that Discord takes, in characters.
const DISCORD_LIMIT: usize = 2000;

/// Where it goes and what is sent there. The address may be a secret.
pub(crate) struct Letter {
    pub address: String,
    pub body: String,
}

/// The letter to `receiver`.
pub(crate) fn letter(receiver: &ReceiverConfig, notification: &Notification) -> Letter {
    let address = receiver.url.expose_secret().to_owned();
    let own = |template: &Template| render(template, notification);
    if receiver.shape == Shape::Ntfy {
        let topic = topic(&address).unwrap_or_default();
        let given = receiver.template.as_ref().map(own);
        let given = given.and_then(|body| serde_json::from_str(&body).ok());
        let mut body: Value = given.unwrap_or_else(|| ntfy(notification));
        body["topic"] = Value::from(topic);
        let body = body.to_string();
        let address = before_topic(&address, topic).to_owned();
        return Letter { address, body };
    }
    let body = receiver.template.as_ref().map(own);
    let body = body.unwrap_or_else(|| of_shape(receiver.shape, notification).to_string());
    Letter { address, body }
}

fn of_shape(shape: Shape, notification: &Notification) -> Value {
    match shape {
        Shape::Json => serde_json::to_value(notification).unwrap_or_default(),
        Shape::Ntfy => ntfy(notification),
        Shape::Slack => slack(notification),
        Shape::Discord => discord(notification),
        Shape::Gotify => gotify(notification),
    }
}

/// Where ntfy takes JSON: the address without its topic.
fn before_topic<'a>(address: &'a str, topic: &str) -> &'a str {
    let path = address.split(['?', '#']).next().unwrap_or(address);
    let path = path.trim_end_matches('/');
    path.strip_suffix(topic).unwrap_or(path)
}

fn ntfy(notification: &Notification) -> Value {
    let mut body = json!({
        "title": notification.title,
        "message": notification.text,
        "priority": priority(notification.level),
        "tags": [notification.kind.as_str()],
    });
    if let Some(link) = &notification.link {
        body["click"] = Value::from(link.as_str());
    }
    body
}

fn slack(notification: &Notification) -> Value {
    let plain = |text: &str| {
        let text = text.replace('&', "&amp;");
        text.replace('<', "&lt;").replace('>', "&gt;")
    };
    let (title, text) = (plain(&notification.title), plain(&notification.text));
    let mut words = format!("*{title}*\n{text}");
    if let Some(link) = &notification.link {
        words.push_str(&format!("\n<{}>", plain(link)));
    }
    json!({ "text": words })
}

fn discord(notification: &Notification) -> Value {
    let (title, text) = (unmarked(&notification.title), unmarked(&notification.text));
    let mut words = format!("**{title}**\n{text}");
    if let Some(link) = &notification.link {
        words.push_str(&format!("\n<{link}>"));
    }
    let words: String = words.chars().take(DISCORD_LIMIT).collect();
    json!({ "content": words, "allowed_mentions": { "parse": [] } })
}

/// So that Markdown says nothing but what is written.
fn unmarked(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(
            c,
            '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '[' | ']' | '#'
        ) {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

fn gotify(notification: &Notification) -> Value {
    let mut body = json!({
        "title": notification.title,
        "message": notification.text,
        "priority": priority(notification.level) * 2 - 2,
    });
    if let Some(link) = &notification.link {
        body["extras"] = json!({ "client::notification": { "click": { "url": link } } });
    }
    body
}
