//! Receivers of notifications.

use super::*;

fn shown_receiver() -> String {
    shown_section("[[notifications.receivers]]")
}

/// `MINIMAL` and the secrets of a receiver.
fn with_receivers(secrets: &Secrets, sections: &str) -> Loaded {
    for (name, text) in [
        ("ntfy_url", "https://ntfy.example.org/s3cr3t-topic\n"),
        ("ntfy_token", "tk_s3cr3t\n"),
        ("ca.pem", CERTIFICATE),
    ] {
        fs::write(secrets.path().join(name), text).unwrap();
    }
    secrets.load(&format!("{MINIMAL}\n{sections}"), &[])
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[test]
fn reference_file_shows_a_receiver_with_every_key() {
    let secrets = Secrets::new();
    let (config, _) = with_receivers(&secrets, &shown_receiver()).unwrap();
    let receiver = &config.notify.receivers[0];
    assert_eq!(
        (receiver.name.as_str(), receiver.shape),
        ("phone", Shape::Ntfy)
    );
    assert_eq!(receiver.kinds.len(), 2);
    assert!(receiver.template.is_some() && receiver.authorities.is_some());
    assert_eq!(config.secrets.len(), 4);
    let errors =
        with_receivers(&secrets, "[[notifications.receivers]]\nzzzzzzzzzzzz = 1\n").unwrap_err();
    let unknown = errors.iter().find(|error| error.key.ends_with("zzzz"));
    let (_, known) = unknown.unwrap().remedy.split_once("known here: ").unwrap();
    for key in known.split(", ").filter(|key| *key != "url") {
        assert!(shown_receiver().contains(&format!("{key} = ")), "{key}");
    }
}

#[test]
fn all_errors_of_receivers_are_reported_together_without_secrets() {
    let secrets = Secrets::new();
    let wrong = r#"
[[notifications.receivers]]
name = "a"
url_file = "/secrets/ntfy_url"
url = "https://example.org/"
shape = "pigeon"
[[notifications.receivers]]
name = "a"
url = "https://hooks.example.org/s3cr3t"
shape = "slack"
template = "{{title}}"
headers = ["Authorization: s3cr3t", "no colon"]
events = ["guest_down", "full_moon"]
timeout_s = 0
[[notifications.receivers]]
name = "b"
url = "ftp://example.org"
token_file = "/secrets/missing"
[[notifications.receivers]]
name = "c"
url = "https://ntfy.example.org/"
shape = "ntfy"
[[notifications.receivers]]
name = "d"
url = "https://user:s3cr3t@example.org/"
[[notifications.receivers]]
name = "e"
[notifications]
public_url = 1
guest_down_after_s = 0
"#;
    let errors = with_receivers(&secrets, wrong).unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    assert!(!text.contains("s3cr3t"), "{text}");
    for part in [
        "notifications.receivers[0].url_file: is set in addition to url",
        "notifications.receivers[0].shape: \"pigeon\" is not a shape; write json",
        "notifications.receivers[1].name: \"a\" is used twice",
        "notifications.receivers[1].url: contains a secret; put the address into a file",
        "notifications.receivers[1].template: is not valid JSON",
        "notifications.receivers[1].headers: sets authorization",
        "notifications.receivers[1].headers: has no colon",
        "notifications.receivers[1].events: \"full_moon\" is not an event; choose from",
        "notifications.receivers[1].timeout_s: is out of range",
        "notifications.receivers[2].url: is not an http or https address",
        "notifications.receivers[2].token_file: ",
        "notifications.receivers[3].url: has no topic",
        "notifications.receivers[4].url: contains a secret",
        "notifications.receivers[5].url_file: is missing",
        "notifications.guest_down_after_s: is out of range",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn receiver_can_be_configured_by_variables_alone() {
    let secrets = Secrets::new();
    let env = [
        ("BREAKGLASS_NOTIFICATIONS__RECEIVERS__0__NAME", "chat"),
        ("BREAKGLASS_NOTIFICATIONS__RECEIVERS__0__SHAPE", "slack"),
        (
            "BREAKGLASS_NOTIFICATIONS__RECEIVERS__0__URL",
            "https://hooks.example.org/s3cr3t",
        ),
        (
            "BREAKGLASS_NOTIFICATIONS__RECEIVERS__0__HEADERS",
            "X-Key: s3cr3t",
        ),
        (
            "BREAKGLASS_NOTIFICATIONS__RECEIVERS__0__EVENTS",
            "turn_ended, verb_ended",
        ),
        (
            "BREAKGLASS_NOTIFICATIONS__PUBLIC_URL",
            "https://rescue.example.org/",
        ),
    ];
    let (config, _) = secrets.load(MINIMAL, &env).unwrap();
    assert_eq!(config.notify.receivers[0].kinds.len(), 2);
    let url = config.notify.public_url.as_deref();
    assert_eq!(url, Some("https://rescue.example.org"));
    assert!(!format!("{config:?}").contains("s3cr3t"));
}
