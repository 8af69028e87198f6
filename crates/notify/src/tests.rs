//! The pure part: what is told, how often, in which shape.

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
use super::progress::Told;
use super::shape::letter;
use super::what::{Hold, Sign, is_live, of_checks, of_event, tried};
use breakglass_config::{NotificationKind, ReceiverConfig, Shape};
use breakglass_readiness::{Check, State};

const DOWN: Duration = Duration::from_secs(60);
const UP: Duration = Duration::from_secs(30);

fn signs() -> impl Strategy<Value = Vec<(u64, Sign)>> {
    let sign = prop_oneof![Just(Sign::Up), Just(Sign::Down), Just(Sign::Unclear)];
    prop::collection::vec((0..40u64, sign), 0..200)
}

proptest! {
    #[test]
    fn a_guest_is_told_down_and_up_in_turn_and_only_after_signs_that_lasted(signs in signs()) {
        let mut hold = Hold::new(false, DOWN, UP);
        let (mut now, mut down) = (Duration::ZERO, false);
        // Since when no sign has said that it stands as was told.
        let mut run: VecDeque<(Duration, Sign)> = VecDeque::new();
        for (gap, sign) in signs {
            now += Duration::from_secs(gap);
            let told = hold.observe(now, sign);
            let as_told = if down { Sign::Down } else { Sign::Up };
            if sign == as_told {
                run.clear();
            } else if sign != Sign::Unclear {
                run.push_back((now, sign));
            }
            let lasted = run.front().map_or(Duration::ZERO, |(since, _)| now - *since);
            let wait = if down { UP } else { DOWN };
            let due = sign != Sign::Unclear && !run.is_empty() && lasted >= wait;
            prop_assert_eq!(told, due.then_some(!down));
            if due {
                down = !down;
                run.clear();
            }
        }
    }

    #[test]
    fn a_guest_that_flaps_faster_than_its_wait_is_never_told(gaps in prop::collection::vec(1..30u64, 0..200)) {
        let mut hold = Hold::new(false, DOWN, UP);
        let mut now = Duration::ZERO;
        for (index, gap) in gaps.into_iter().enumerate() {
            now += Duration::from_secs(gap);
            let sign = if index % 2 == 0 { Sign::Down } else { Sign::Up };
            prop_assert_eq!(hold.observe(now, sign), None);
        }
    }

    #[test]
    fn checks_are_told_once_for_each_change_and_all_together(
        rounds in prop::collection::vec(prop::collection::vec(0..3usize, 5), 1..20),
    ) {
        let states = [State::Green, State::Amber, State::Red];
        let mut told = Told::nothing();
        let mut before = vec![State::Green; 5];
        for round in rounds {
            let now: Vec<State> = round.iter().map(|state| states[*state]).collect();
            let named: Vec<_> = now.iter().enumerate().map(|(n, state)| (format!("check{n}"), *state)).collect();
            let notification = of_checks(&mut told, &named);
            prop_assert_eq!(notification.is_some(), now != before);
            if let Some(notification) = notification {
                for (n, state) in now.iter().enumerate() {
                    let named = notification.text.contains(&format!("check{n}"));
                    prop_assert_eq!(named, *state != before[n], "{}", notification.text);
                }
            }
            prop_assert!(of_checks(&mut told, &named).is_none());
            before = now;
        }
    }
}

#[test]
fn a_check_that_was_not_tried_stays_as_it_was_told() {
    let mut told = Told::nothing();
    let red = || Check::red("devvm.guest.sudo", "no", "mend it");
    assert!(of_checks(&mut told, &tried(vec![red()])).is_some());
    let waits = Check::untried("devvm.guest.sudo", "devvm.guest.reach");
    assert!(of_checks(&mut told, &tried(vec![waits])).is_none());
    assert!(of_checks(&mut told, &tried(vec![red()])).is_none());
}

#[test]
fn an_incident_that_was_imported_or_rehearsed_is_not_told() {
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
fn a_thousand_checks_make_one_short_notification() {
    let named: Vec<_> = (0..1000)
        .map(|n| (format!("check-{n}"), State::Red))
        .collect();
    let told = of_checks(&mut Told::nothing(), &named).unwrap();
    assert!(told.text.contains("and 992 more"), "{}", told.text);
    assert!(told.text.len() <= 700 && told.level == Level::Error);
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn told(body: &EventBody) -> Option<Notification> {
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
fn a_verb_that_changes_something_is_told_with_its_verdict_and_others_are_not() {
    let done = told(&verb("cycle", VerbOutcome::Done, "running")).unwrap();
    assert_eq!(
        (done.title.as_str(), done.level),
        ("devvm: cycle is done", Level::Info)
    );
    assert!(done.text.contains("Verdict: running"), "{}", done.text);
    let failed = told(&verb("stop", VerbOutcome::Failed, "unknown (SECRET)")).unwrap();
    assert_eq!(failed.level, Level::Error);
    assert!(
        failed.text.ends_with("Verdict: unknown."),
        "{}",
        failed.text
    );
    for reads in ["status", "forensics", "vitals", "screenshot"] {
        assert_eq!(told(&verb(reads, VerbOutcome::Done, "running")), None);
    }
}

#[test]
fn neither_commands_nor_what_anything_printed_is_told() {
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
        let told = told(&body).unwrap();
        assert!(!format!("{told:?}").contains("SECRET"), "{told:?}");
        assert_eq!(told.target.as_deref(), Some("devvm"));
        assert_eq!(told.at, "2026-11-25T03:00:00.000Z");
    }
}

#[test]
fn an_event_has_the_same_id_whenever_and_however_it_comes() {
    let body = verb("cycle", VerbOutcome::Done, "running");
    let unrecorded = of_event(None, IncidentId::from_u128(8), Time::now(), &body).unwrap();
    assert_eq!(told(&body).unwrap().id, unrecorded.id);
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

/// A notification full of what each format could misread.
fn hostile() -> Notification {
    let (title, text) = ("<b>\"*x*\" & `y`", "@everyone\n\u{1b}[31m \\ {{text}}");
    let kind = NotificationKind::GuestDown;
    let told = Notification::new("id-1", kind, Level::Error, title, text);
    Notification {
        incident: Some("7".into()),
        ..told
    }
    .linked(Some("https://rescue.example.org"))
}

fn sent(shape: Shape, url: &str) -> (String, Value) {
    let letter = letter(&receiver(shape, url), &hostile());
    (letter.address, serde_json::from_str(&letter.body).unwrap())
}

#[test]
fn a_link_leads_to_what_is_told_an_incident_readiness_or_the_page() {
    for (kind, incident, place) in [
        (NotificationKind::VerbEnded, Some("7"), "#/incident/7"),
        (NotificationKind::ApprovalWanted, Some("7"), "#/incident/7"),
        (NotificationKind::ReadinessChanged, None, "#/readiness"),
        (NotificationKind::GuestDown, None, ""),
    ] {
        let mut told = Notification::new("id-1", kind, Level::Error, "title", "text");
        told.incident = incident.map(str::to_owned);
        let link = format!("https://rescue.example.org/{place}");
        let told = told.linked(Some("https://rescue.example.org"));
        assert_eq!(told.link, Some(link));
    }
}

#[test]
fn an_agent_that_asks_is_told_with_how_long_it_waits() {
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
        let told = of_event(Some("devvm"), IncidentId::nil(), at, &body);
        told.unwrap().text
    };
    let text = asked(Some("2026-11-30T03:01:59.500Z"));
    assert!(text.contains("for 119 s from then on"), "{text}");
    assert!(!asked(None).contains(" s from then on"));
}

const LINK: &str = "https://rescue.example.org/#/incident/7";
/// As it is shown: what a terminal would obey has become visible.
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
fn ntfy_gets_json_at_its_root_with_the_topic_in_it() {
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
fn slack_gets_text_in_which_nothing_becomes_a_link_or_a_mention() {
    let (_, body) = sent(Shape::Slack, "https://hooks.example.org/T/B/x");
    let text = format!("*&lt;b&gt;\"*x*\" &amp; `y`*\n{TEXT}\n<{LINK}>");
    assert_eq!(body, json!({ "text": text }));
}

#[test]
fn discord_gets_content_that_mentions_nobody() {
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
fn discord_gets_no_more_than_it_takes() {
    let kind = NotificationKind::GuestDown;
    let long = "*".repeat(5000);
    let told = Notification::new("1", kind, Level::Error, &long, &long);
    let letter = letter(&receiver(Shape::Discord, "https://example.org/x"), &told);
    let body: Value = serde_json::from_str(&letter.body).unwrap();
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
