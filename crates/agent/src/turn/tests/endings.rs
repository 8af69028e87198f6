//! What ends a turn, what does not, and what is recorded about it.

use super::*;

const TEXT: &str =
    r#"{"type":"assistant","message":{"model":"m","content":[{"type":"text","text":"I look."}]}}"#;
const TOOL: &str = r#"{"type":"assistant","message":{"model":"m","content":[{"type":"tool_use","id":"t","name":"Bash","input":{"command":"df"}}]}}"#;
const SUCCESS: &str =
    r#"{"type":"result","subtype":"success","is_error":false,"result":"I look."}"#;

fn played(lines: &[&str]) -> Vec<Effect> {
    let mut turn = Turn::new(1, 0.0).with_login_remedy("Put a key into /secrets/key.");
    lines
        .iter()
        .flat_map(|line| feed(&mut turn, line))
        .collect()
}

fn result(parts: &str) -> String {
    format!(r#"{{"type":"result",{parts}}}"#)
}

fn cli_says(text: &str, error: &str) -> String {
    format!(
        r#"{{"type":"assistant","message":{{"model":"<synthetic>","content":[{{"type":"text","text":"{text}"}}]}}{error}}}"#
    )
}

#[test]
fn the_result_of_the_clis_own_turn_does_not_end_the_operators() {
    for kind in [
        "task-notification",
        "peer",
        "auto-continuation",
        "a-later-kind",
    ] {
        let own = result(&format!(
            r#""is_error":false,"result":"x","total_cost_usd":0.5,"origin":{{"kind":"{kind}"}}"#
        ));
        assert_eq!(played(&[&own, TEXT, &own]).len(), 1, "{kind}");
        let effects = played(&[&own, TEXT, SUCCESS]);
        assert_eq!(end(&effects), (&Actor::Agent, TurnOutcome::Done, None));
    }
}

#[test]
fn a_result_of_a_person_or_without_a_valid_origin_ends_the_turn() {
    for origin in [
        "null",
        r#"{"kind":"human"}"#,
        "7",
        "{}",
        "[]",
        r#""task-notification""#,
    ] {
        let line = result(&format!(
            r#""is_error":false,"result":"x","origin":{origin}"#
        ));
        assert_eq!(
            kinds(&played(&[TEXT, &line])).last(),
            Some(&"turn_ended"),
            "{origin}"
        );
    }
}

#[test]
fn a_failed_background_turn_is_a_notice_and_ends_nothing() {
    let own = result(
        r#""is_error":true,"result":"API Error: 529","origin":{"kind":"task-notification"}"#,
    );
    let effects = played(&[&own]);
    let (code, text) = notices(&effects)[0];
    assert_eq!((code, effects.len()), ("agent_own_turn_failed", 1));
    assert!(text.contains("529"), "{text}");
}

#[test]
fn a_turn_without_an_answer_has_a_reason() {
    let empty = result(r#""subtype":"success","is_error":false,"result":"  ""#);
    for lines in [
        &[empty.as_str()][..],
        &[TEXT, TOOL, &empty],
        &[&result(r#""is_error":false"#)],
    ] {
        let effects = played(lines);
        let (_, outcome, reason) = end(&effects);
        assert_eq!(outcome, TurnOutcome::Done);
        assert!(
            reason.unwrap().contains("ended without an answer"),
            "{reason:?}"
        );
    }
}

#[test]
fn an_answer_that_is_only_in_the_result_is_recorded_once() {
    let effects = played(&[SUCCESS]);
    assert_eq!(kinds(&effects), ["text", "turn_ended"]);
    let requesting = r#"{"type":"system","subtype":"status","status":"requesting"}"#;
    assert_eq!(
        kinds(&played(&[requesting, TEXT, SUCCESS])),
        ["text", "turn_ended"]
    );
    assert_eq!(
        kinds(&played(&[TEXT, requesting, SUCCESS])),
        ["text", "turn_ended"]
    );
}

#[test]
fn a_result_with_an_error_fails_the_turn_whatever_is_error_is() {
    for (parts, reason) in [
        (
            r#""subtype":"error_max_turns","is_error":false,"errors":["Reached maximum number of turns (9)"]"#,
            "The claude CLI gave up (error_max_turns): Reached maximum number of turns (9). Prompt again to continue.",
        ),
        (
            r#""subtype":"error_max_budget_usd","is_error":true,"errors":["Reached maximum budget ($1)"]"#,
            "The claude CLI gave up (error_max_budget_usd): Reached maximum budget ($1). Prompt again to continue.",
        ),
        (
            r#""subtype":"error_during_execution","is_error":false,"errors":["[ede_diagnostic] x"]"#,
            "The claude CLI gave up (error_during_execution). Prompt again to continue.",
        ),
        (
            r#""subtype":"success","is_error":false,"result":"Half.","errors":["The disk is full"]"#,
            "Half. The disk is full.",
        ),
        (
            r#""subtype":"error_of_next_year""#,
            "The claude CLI gave up (error_of_next_year). Prompt again to continue.",
        ),
    ] {
        let effects = played(&[TEXT, &result(parts)]);
        assert_eq!(
            end(&effects),
            (&Actor::Agent, TurnOutcome::Failed, Some(reason)),
            "{parts}"
        );
    }
}

#[test]
fn a_failure_reported_by_the_cli_fails_the_turn_though_the_result_is_success() {
    let well = result(r#""subtype":"success","is_error":false,"result":"""#);
    for error in [r#","error":"server_error""#, ""] {
        let effects = played(&[TEXT, &cli_says("API Error: 500", error), &well]);
        let (_, outcome, reason) = end(&effects);
        assert_eq!(
            (outcome, reason),
            (TurnOutcome::Failed, Some("API Error: 500"))
        );
    }
}

#[test]
fn a_failure_that_the_model_overcame_is_a_notice_and_ends_nothing() {
    let failed = cli_says("API Error: 500", r#","error":"server_error""#);
    let effects = played(&[&failed, TEXT, SUCCESS]);
    assert_eq!(
        notices(&effects),
        [("agent_cli_says", "The claude CLI says: API Error: 500.")]
    );
    assert_eq!(end(&effects).1, TurnOutcome::Done);
}

#[test]
fn the_clis_own_text_is_a_notice() {
    let well = result(r#""subtype":"success","is_error":false,"result":"Unknown command: /x""#);
    let effects = played(&[&cli_says("Unknown command: /x", ""), &well]);
    assert_eq!(
        notices(&effects),
        [(
            "agent_cli_says",
            "The claude CLI says: Unknown command: /x."
        )]
    );
    assert_eq!(end(&effects), (&Actor::Agent, TurnOutcome::Done, None));
}

#[test]
fn a_refused_login_is_one_notice_with_the_remedy_whatever_is_error_is() {
    for (text, kind) in [
        ("Not logged in · Please run /login", "authentication_failed"),
        (
            "Invalid API key · Fix external API key",
            "authentication_failed",
        ),
        ("OAuth token has expired · Please run /login", ""),
        ("Credit balance is too low", "billing_error"),
        (
            "Your organization has disabled Claude subscription access",
            "oauth_org_not_allowed",
        ),
    ] {
        let error = if kind.is_empty() {
            String::new()
        } else {
            format!(r#","error":"{kind}""#)
        };
        for is_error in [true, false] {
            let ended = result(&format!(r#""is_error":{is_error},"result":"{text}""#));
            let effects = played(&[&cli_says(text, &error), &ended]);
            let (_, outcome, reason) = end(&effects);
            let reason = reason.unwrap();
            assert_eq!(outcome, TurnOutcome::Failed, "{text}");
            assert!(
                reason.contains("Put a key into /secrets/key.") && !reason.contains("/login"),
                "{reason}"
            );
            let messages: Vec<&str> = notices(&effects).iter().map(|(_, text)| *text).collect();
            assert_eq!(messages, [reason]);
        }
    }
}

#[test]
fn the_models_own_text_about_a_login_is_not_a_refusal() {
    let text = TEXT.replace("I look.", "sshd says: please run /login, invalid api key");
    let effects = played(&[&text, SUCCESS]);
    assert_eq!(
        (notices(&effects).len(), end(&effects).1),
        (0, TurnOutcome::Done)
    );
}

#[test]
fn a_long_delay_and_a_compaction_are_notices() {
    let retry = r#"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":3,"retry_delay_ms":90000.7,"error_status":429,"error":"rate_limit"}"#;
    let compacting = r#"{"type":"system","subtype":"status","status":"compacting"}"#;
    let failed = r#"{"type":"system","subtype":"status","status":null,"compact_result":"failed","compact_error":"too_few_groups"}"#;
    let effects = played(&[retry, compacting, compacting, failed]);
    let notices = notices(&effects);
    assert!(
        notices[0]
            .1
            .contains("429 rate_limit): attempt 1 of 3, the next in 1 min 30 s."),
        "{notices:?}"
    );
    assert_eq!(
        (notices[1].0, notices[2].0, notices.len()),
        ("agent_compacting", "agent_not_compacted", 3)
    );
    assert!(notices[2].1.contains("too_few_groups"), "{notices:?}");
}

#[test]
fn a_retry_with_odd_numbers_is_a_notice_too() {
    for parts in [
        r#""attempt":-1,"max_retries":"x","retry_delay_ms":"soon","error_status":999999"#,
        r#""attempt":1e99"#,
    ] {
        let line = format!(r#"{{"type":"system","subtype":"api_retry",{parts}}}"#);
        assert_eq!(
            notices(&played(&[&line]))[0].0,
            "model_unreachable",
            "{parts}"
        );
    }
}

#[test]
fn a_result_that_is_too_long_finishes_its_tool_and_counts_omitted_bytes() {
    let mut turn = Turn::new(1, 0.0);
    feed(&mut turn, TOOL);
    let line = serde_json::json!({"type": "user", "message": {"content": [
        {"type": "tool_result", "content": "x".repeat(3_000_000), "tool_use_id": "t"}]}});
    let line = format!(r#"{{"type":"user",{}"#, &line.to_string()[1..]);
    let excerpt = wire::Excerpt::of(line.as_bytes());
    let effects = turn.step(Input::Line(excerpt.line()), SECOND);
    let EventBody::ToolFinished {
        output,
        omitted_bytes,
        ..
    } = bodies(&effects)[0]
    else {
        panic!("not a tool's end")
    };
    assert!(
        output.contains("[output incomplete: ") && output.len() < 64 * 1024,
        "{}",
        output.len()
    );
    assert!(*omitted_bytes > 2_900_000 && !turn.is_tool_running());
}
