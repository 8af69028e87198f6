//! Receivers of notifications.

use super::*;

fn shown_receiver() -> String {
    shown_section("[[notify]]")
}

/// `LEAST`, and the secrets of a receiver.
fn with_receivers(secrets: &Secrets, sections: &str) -> Loaded {
    for (name, text) in [
        ("ntfy_url", "https://ntfy.example.org/s3cr3t-topic\n"),
        ("ntfy_token", "tk_s3cr3t\n"),
        ("ca.pem", CERTIFICATE),
    ] {
        fs::write(secrets.path().join(name), text).unwrap();
    }
    secrets.load(&format!("{LEAST}\n{sections}"), &[])
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[test]
fn the_reference_file_shows_a_whole_receiver_with_every_key() {
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
    let errors = with_receivers(&secrets, "[[notify]]\nzzzzzzzzzzzz = 1\n").unwrap_err();
    let unknown = errors.iter().find(|error| error.key.ends_with("zzzz"));
    let (_, known) = unknown.unwrap().remedy.split_once("known here: ").unwrap();
    for key in known.split(", ").filter(|key| *key != "url") {
        assert!(shown_receiver().contains(&format!("{key} = ")), "{key}");
    }
}

#[test]
fn all_that_is_wrong_with_receivers_is_said_at_once_and_shows_no_secret() {
    let secrets = Secrets::new();
    let wrong = r#"
[[notify]]
name = "a"
url_file = "/secrets/ntfy_url"
url = "https://example.org/"
shape = "pigeon"
[[notify]]
name = "a"
url = "https://hooks.example.org/s3cr3t"
shape = "slack"
template = "{{title}}"
headers = ["Authorization: s3cr3t", "no colon"]
events = ["guest_down", "full_moon"]
timeout_s = 0
[[notify]]
name = "b"
url = "ftp://example.org"
token_file = "/secrets/missing"
[[notify]]
name = "c"
url = "https://ntfy.example.org/"
shape = "ntfy"
[[notify]]
name = "d"
url = "https://somebody:s3cr3t@example.org/"
[[notify]]
name = "e"
[notifications]
guest_down_after_s = 0
"#;
    let errors = with_receivers(&secrets, &format!("public_url = 1\n{wrong}")).unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    assert!(!text.contains("s3cr3t"), "{text}");
    for part in [
        "notify[0].url_file: is there beside url",
        "notify[0].shape: \"pigeon\" is no shape; write json",
        "notify[1].name: \"a\" is there twice",
        "notify[1].url: has a secret in it; put it into a file",
        "notify[1].template: is no JSON",
        "notify[1].headers: sets authorization",
        "notify[1].headers: has no colon",
        "notify[1].events: \"full_moon\" is no event; choose from",
        "notify[1].timeout_s: is out of range",
        "notify[2].url: is no http or https address",
        "notify[2].token_file: ",
        "notify[3].url: has no topic",
        "notify[4].url: has a secret in it",
        "notify[5].url_file: is missing",
        "notifications.guest_down_after_s: is out of range",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_receiver_can_come_from_variables_alone_and_shows_no_secret() {
    let secrets = Secrets::new();
    let env = [
        ("BREAKGLASS_NOTIFY__0__NAME", "chat"),
        ("BREAKGLASS_NOTIFY__0__SHAPE", "slack"),
        (
            "BREAKGLASS_NOTIFY__0__URL",
            "https://hooks.example.org/s3cr3t",
        ),
        ("BREAKGLASS_NOTIFY__0__HEADERS", "X-Key: s3cr3t"),
        ("BREAKGLASS_NOTIFY__0__EVENTS", "turn_ended, verb_ended"),
        ("BREAKGLASS_PUBLIC_URL", "https://rescue.example.org/"),
    ];
    let (config, _) = secrets.load(LEAST, &env).unwrap();
    assert_eq!(config.notify.receivers[0].kinds.len(), 2);
    let url = config.notify.public_url.as_deref();
    assert_eq!(url, Some("https://rescue.example.org"));
    assert!(!format!("{config:?}").contains("s3cr3t"));
}
