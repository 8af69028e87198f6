//! Selection of notifications, and their HTTP messages.

use std::collections::VecDeque;
use std::time::Duration;

use breakglass_log::IncidentSummary;
use breakglass_model::{
    EventBody, IncidentId, Level, Time, TurnOutcome, Verb, VerbOutcome, Verdict,
};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::notification::Notification;
use super::notified::Notified;
use super::select::{Debounce, GuestState, is_live, of_checks, of_event, tried_states};
use super::shape::http_message;
use breakglass_config::{NotificationKind, ReceiverConfig, Shape};
use breakglass_readiness::{Check, State};

const AFTER: Duration = Duration::from_secs(60);

fn states() -> impl Strategy<Value = Vec<(u64, GuestState)>> {
    let state = prop_oneof![
        Just(GuestState::Up),
        Just(GuestState::Down),
        Just(GuestState::Unknown)
    ];
    prop::collection::vec((0..40u64, state), 0..200)
}

proptest! {
    #[test]
    fn guest_changes_are_notified_alternately_and_only_if_they_last(states in states()) {
        let mut debounce = Debounce::new(false, AFTER);
        let (mut now, mut down) = (Duration::ZERO, false);
        // The states since the last one that agreed with the notified state.
        let mut run: VecDeque<(Duration, GuestState)> = VecDeque::new();
        for (gap, state) in states {
            now += Duration::from_secs(gap);
            let change = debounce.observe(now, state);
            let notified = if down { GuestState::Down } else { GuestState::Up };
            if state == notified {
                run.clear();
            } else if state != GuestState::Unknown {
                run.push_back((now, state));
            }
            let lasted = run.front().map_or(Duration::ZERO, |(since, _)| now - *since);
            let due = state != GuestState::Unknown && !run.is_empty() && lasted >= AFTER;
            prop_assert_eq!(change, due.then_some(!down));
            if due {
                down = !down;
                run.clear();
            }
        }
    }

    #[test]
    fn guest_that_changes_faster_than_the_wait_is_never_notified(gaps in prop::collection::vec(1..60u64, 0..200)) {
        let mut debounce = Debounce::new(false, AFTER);
        let mut now = Duration::ZERO;
        for (index, gap) in gaps.into_iter().enumerate() {
            now += Duration::from_secs(gap);
            let state = if index % 2 == 0 { GuestState::Down } else { GuestState::Up };
            prop_assert_eq!(debounce.observe(now, state), None);
        }
    }

    #[test]
    fn changed_checks_are_notified_once_and_together(
        rounds in prop::collection::vec(prop::collection::vec(0..3usize, 5), 1..20),
    ) {
        let states = [State::Green, State::Amber, State::Red];
        let mut notified = Notified::starting_now();
        let mut before = vec![State::Green; 5];
        for round in rounds {
            let now: Vec<State> = round.iter().map(|state| states[*state]).collect();
            let named: Vec<_> = now.iter().enumerate().map(|(n, state)| (format!("check{n}"), *state)).collect();
            let notification = of_checks(&mut notified, &named);
            prop_assert_eq!(notification.is_some(), now != before);
            if let Some(notification) = notification {
                for (n, state) in now.iter().enumerate() {
                    let named = notification.text.contains(&format!("check{n}"));
                    prop_assert_eq!(named, *state != before[n], "{}", notification.text);
                }
            }
            prop_assert!(of_checks(&mut notified, &named).is_none());
            before = now;
        }
    }
}

#[test]
fn untried_check_keeps_its_notified_state() {
    let mut notified = Notified::starting_now();
    let red = || Check::red("devvm.guest.sudo", "no", "fix it");
    assert!(of_checks(&mut notified, &tried_states(vec![red()])).is_some());
    let waits = Check::untried("devvm.guest.sudo", "devvm.guest.reach");
    assert!(of_checks(&mut notified, &tried_states(vec![waits])).is_none());
    assert!(of_checks(&mut notified, &tried_states(vec![red()])).is_none());
}

#[test]
fn imported_incidents_and_drills_are_not_notified() {
    let summary = |drill, imported_at: Option<&str>| IncidentSummary {
        incident: IncidentId::from_u128(7),
        target: "devvm".into(),
        drill,
        opened_at: time("2026-11-25T03:00:00.000Z"),
        closed_at: None,
        head: 1,
        last_at: time("2026-11-25T03:00:00.000Z"),
        running_turn: None,
        imported_at: imported_at.map(time),
    };
    assert!(is_live(&summary(false, None)));
    assert!(!is_live(&summary(true, None)));
    assert!(!is_live(&summary(false, Some("2026-11-25T04:00:00.000Z"))));
}

#[test]
fn thousand_checks_become_one_short_notification() {
    let named: Vec<_> = (0..1000)
        .map(|n| (format!("check-{n}"), State::Red))
        .collect();
    let notification = of_checks(&mut Notified::starting_now(), &named).unwrap();
    assert!(
        notification.text.contains("and 992 more"),
        "{}",
        notification.text
    );
    assert!(notification.text.len() <= 700 && notification.level == Level::Error);
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn notification_of(body: &EventBody) -> Option<Notification> {
    of_event(
        Some("devvm"),
        IncidentId::from_u128(7),
        time("2026-11-25T03:00:00.000Z"),
        body,
    )
}

fn verb(verb: &str, outcome: VerbOutcome, verdict: &str) -> EventBody {
    EventBody::VerbFinished {
        operation: IncidentId::from_u128(9),
        target: "devvm".into(),
        verb: Verb::parse(verb).unwrap(),
        outcome,
        verdict: Verdict::parse(verdict),
        exit_code: Some(0),
        message: "SECRET".into(),
        duration_ms: 1,
        omitted_lines: 0,
        picture: false,
    }
}

#[test]
fn only_mutating_verbs_are_notified_with_their_verdict() {
    let done = notification_of(&verb("cycle", VerbOutcome::Done, "running")).unwrap();
    assert_eq!(
        (done.title.as_str(), done.level),
        ("devvm: cycle is done", Level::Info)
    );
    assert!(done.text.contains("Verdict: running"), "{}", done.text);
    let failed = notification_of(&verb("stop", VerbOutcome::Failed, "unknown (SECRET)")).unwrap();
    assert_eq!(failed.level, Level::Error);
    assert!(
        failed.text.ends_with("Verdict: unknown."),
        "{}",
        failed.text
    );
    for reads in ["status", "forensics", "vitals", "screenshot"] {
        assert_eq!(
            notification_of(&verb(reads, VerbOutcome::Done, "running")),
            None
        );
    }
}

#[test]
fn commands_and_their_output_are_not_notified() {
    let bodies = [
        verb("cycle", VerbOutcome::Failed, "unknown (SECRET)"),
        verb("cycle", VerbOutcome::Failed, "locked (SECRET)"),
        EventBody::TurnEnded {
            turn: 3,
            outcome: TurnOutcome::Failed,
            reason: Some("SECRET".into()),
            duration_ms: 1,
            cost_usd: None,
        },
        EventBody::ApprovalRequested {
            approval: "a".into(),
            turn: 3,
            tool_call: None,
            place: "devvm".into(),
            command: "mysql -pSECRET".into(),
            touches: "SECRET".into(),
            expires_at: None,
        },
    ];
    for body in bodies {
        let notification = notification_of(&body).unwrap();
        assert!(
            !format!("{notification:?}").contains("SECRET"),
            "{notification:?}"
        );
        assert_eq!(notification.target.as_deref(), Some("devvm"));
        assert_eq!(notification.at, "2026-11-25T03:00:00.000Z");
    }
}

#[test]
fn recorded_and_unrecorded_event_have_the_same_id() {
    let body = verb("cycle", VerbOutcome::Done, "running");
    let unrecorded = of_event(None, IncidentId::from_u128(8), Time::now(), &body).unwrap();
    assert_eq!(notification_of(&body).unwrap().id, unrecorded.id);
}

fn receiver(shape: Shape, url: &str) -> ReceiverConfig {
    ReceiverConfig {
        name: "phone".into(),
        url: SecretString::from(url),
        shape,
        template: None,
        headers: Vec::new(),
        token: None,
        kinds: NotificationKind::CHOICE.into_iter().collect(),
        timeout: Duration::from_secs(1),
        authorities: None,
    }
}

/// A notification with the special characters of every format.
fn hostile() -> Notification {
    let title = "<b>\"*x*\" & `y`";
    let text = "@everyone\n\u{1b}[31m \\ {{text}}";
    let kind = NotificationKind::GuestDown;
    let notification = Notification::new("id-1", kind, Level::Error, title, text);
    Notification {
        incident: Some("7".into()),
        ..notification
    }
    .linked(Some("https://rescue.example.org"))
}

fn sent(shape: Shape, url: &str) -> (String, Value) {
    let message = http_message(&receiver(shape, url), &hostile());
    (
        message.address,
        serde_json::from_str(&message.body).unwrap(),
    )
}

#[test]
fn link_leads_to_the_incident_to_readiness_or_to_the_page() {
    for (kind, incident, place) in [
        (NotificationKind::VerbEnded, Some("7"), "#/incident/7"),
        (NotificationKind::ApprovalWanted, Some("7"), "#/incident/7"),
        (NotificationKind::ReadinessChanged, None, "#/readiness"),
        (NotificationKind::GuestDown, None, ""),
    ] {
        let mut notification = Notification::new("id-1", kind, Level::Error, "title", "text");
        notification.incident = incident.map(str::to_owned);
        let link = format!("https://rescue.example.org/{place}");
        let notification = notification.linked(Some("https://rescue.example.org"));
        assert_eq!(notification.link, Some(link));
    }
}

#[test]
fn wanted_approval_is_notified_with_its_waiting_time() {
    let asked = |expires_at: Option<&str>| {
        let body = EventBody::ApprovalRequested {
            approval: "a".into(),
            turn: 3,
            tool_call: None,
            place: "devvm".into(),
            command: "reboot".into(),
            touches: "The guest.".into(),
            expires_at: expires_at.map(time),
        };
        let at = time("2026-11-30T03:00:00.500Z");
        let notification = of_event(Some("devvm"), IncidentId::nil(), at, &body);
        notification.unwrap().text
    };
    let text = asked(Some("2026-11-30T03:01:59.500Z"));
    assert!(text.contains("for 119 s from then on"), "{text}");
    assert!(!asked(None).contains(" s from then on"));
}

const LINK: &str = "https://rescue.example.org/#/incident/7";
/// The text with visible control characters.
const TEXT: &str = "@everyone\n␛[31m \\ {{text}}";

#[test]
fn json_has_all_fields() {
    let (address, body) = sent(Shape::Json, "https://example.org/hook");
    assert_eq!(address, "https://example.org/hook");
    assert_eq!(body["id"], "id-1");
    assert_eq!(body["kind"], "guest_down");
    assert_eq!(body["level"], "error");
    assert_eq!(body["text"], TEXT);
    assert_eq!(body["link"], LINK);
    assert!(body["at"].is_string() && body["target"].is_null());
}

#[test]
fn ntfy_gets_json_with_the_topic_at_its_root() {
    for (url, root) in [
        (
            "https://ntfy.example.org/night",
            "https://ntfy.example.org/",
        ),
        (
            "https://example.org/ntfy/night/",
            "https://example.org/ntfy/",
        ),
    ] {
        let (address, body) = sent(Shape::Ntfy, url);
        assert_eq!(address, root);
        let expected = json!({
            "topic": "night", "title": "<b>\"*x*\" & `y`", "message": TEXT, "priority": 5,
            "tags": ["guest_down"], "click": LINK,
        });
        assert_eq!(body, expected);
    }
}

#[test]
fn slack_gets_text_without_links_and_mentions() {
    let (_, body) = sent(Shape::Slack, "https://hooks.example.org/T/B/x");
    let text = format!("*&lt;b&gt;\"*x*\" &amp; `y`*\n{TEXT}\n<{LINK}>");
    assert_eq!(body, json!({ "text": text }));
}

#[test]
fn discord_gets_content_without_mentions() {
    let (_, body) = sent(Shape::Discord, "https://example.org/api/webhooks/1/x");
    assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
    let content = body["content"].as_str().unwrap();
    assert!(
        content.starts_with("**\\<b\\>\"\\*x\\*\" & \\`y\\`**\n"),
        "{content}"
    );
    assert!(content.ends_with(&format!("<{LINK}>")), "{content}");
}

#[test]
fn discord_gets_at_most_2000_characters() {
    let kind = NotificationKind::GuestDown;
    let long = "*".repeat(5000);
    let notification = Notification::new("1", kind, Level::Error, &long, &long);
    let message = http_message(
        &receiver(Shape::Discord, "https://example.org/x"),
        &notification,
    );
    let body: Value = serde_json::from_str(&message.body).unwrap();
    assert!(body["content"].as_str().unwrap().chars().count() <= 2000);
}

#[test]
fn gotify_gets_title_message_priority_and_the_link() {
    let (_, body) = sent(Shape::Gotify, "https://gotify.example.org/message");
    let click = json!({ "client::notification": { "click": { "url": LINK } } });
    let expected = json!({
        "title": "<b>\"*x*\" & `y`", "message": TEXT, "priority": 8, "extras": click,
    });
    assert_eq!(body, expected);
}
