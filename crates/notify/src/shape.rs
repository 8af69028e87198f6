//! The HTTP message for each shape of receiver.

use crate::template::render;
use breakglass_config::Template;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::notification::Notification;
use super::template::priority;
use breakglass_config::{ReceiverConfig, Shape, topic};

/// Maximum length of a message to Discord, in characters.
const DISCORD_MAX_CHARS: usize = 2000;

/// Address and body of a POST request. The address may be a secret.
pub(crate) struct HttpMessage {
    pub address: String,
    pub body: String,
}

/// The message to `receiver`.
pub(crate) fn http_message(receiver: &ReceiverConfig, notification: &Notification) -> HttpMessage {
    let address = receiver.url.expose_secret().to_owned();
    let filled = |template: &Template| render(template, notification);
    if receiver.shape == Shape::Ntfy {
        let topic = topic(&address).unwrap_or_default();
        let own_body = receiver.template.as_ref().map(filled);
        let own_body = own_body.and_then(|body| serde_json::from_str(&body).ok());
        let mut body: Value = own_body.unwrap_or_else(|| ntfy(notification));
        body["topic"] = Value::from(topic);
        let body = body.to_string();
        let address = without_topic(&address, topic).to_owned();
        return HttpMessage { address, body };
    }
    let body = receiver.template.as_ref().map(filled);
    let body = body.unwrap_or_else(|| of_shape(receiver.shape, notification).to_string());
    HttpMessage { address, body }
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

/// The address without its topic, at which ntfy accepts JSON.
fn without_topic<'a>(address: &'a str, topic: &str) -> &'a str {
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
    let escape = |text: &str| {
        let text = text.replace('&', "&amp;");
        text.replace('<', "&lt;").replace('>', "&gt;")
    };
    let title = escape(&notification.title);
    let text = escape(&notification.text);
    let mut message = format!("*{title}*\n{text}");
    if let Some(link) = &notification.link {
        message.push_str(&format!("\n<{}>", escape(link)));
    }
    json!({ "text": message })
}

fn discord(notification: &Notification) -> Value {
    let title = without_markdown(&notification.title);
    let text = without_markdown(&notification.text);
    let mut message = format!("**{title}**\n{text}");
    if let Some(link) = &notification.link {
        message.push_str(&format!("\n<{link}>"));
    }
    let message: String = message.chars().take(DISCORD_MAX_CHARS).collect();
    json!({ "content": message, "allowed_mentions": { "parse": [] } })
}

/// Escapes the characters of Markdown.
fn without_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(
            c,
            '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '[' | ']' | '#'
        ) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
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
