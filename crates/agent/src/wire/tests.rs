//! The decoder against recordings of the real CLI (version 2.1.197).

use std::collections::BTreeMap;

use super::*;

mod damaged;

const WITH_TOOL: &str = include_str!("../../tests/recordings/turn-with-tool.jsonl");
const OVERLOADED: &str = include_str!("../../tests/recordings/api-overloaded.jsonl");
const UNAUTHORIZED: &str = include_str!("../../tests/recordings/api-unauthorized.jsonl");
const ALLOWED: &str = include_str!("../../tests/recordings/approval-allowed.jsonl");
const DENIED: &str = include_str!("../../tests/recordings/approval-denied.jsonl");
const INTERRUPTED: &str = include_str!("../../tests/recordings/interrupted-at-approval.jsonl");

fn lines(recording: &str) -> Vec<Line<'_>> {
    recording
        .lines()
        .map(|line| decode(line).unwrap())
        .collect()
}

fn counted(recording: &str) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines(recording) {
        let name = match line {
            Line::Init { .. } => "init",
            Line::ApiRetry(_) => "retry",
            Line::Status(_) => "status",
            Line::TextDelta(_) => "delta",
            Line::Assistant { .. } => "assistant",
            Line::ToolResults(_) => "results",
            Line::ControlRequest { .. } => "request",
            Line::ControlCancelled { .. } => "cancelled",
            Line::ControlResponse { .. } => "response",
            Line::TurnResult(_) => "result",
            Line::Ignored => "ignored",
            Line::Unknown => "unknown",
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[test]
fn every_recorded_line_is_known_and_each_turn_ends_once() {
    for recording in [
        WITH_TOOL,
        OVERLOADED,
        UNAUTHORIZED,
        ALLOWED,
        DENIED,
        INTERRUPTED,
    ] {
        let counts = counted(recording);
        assert!(!counts.contains_key("unknown"), "{counts:?}");
        assert_eq!(counts["result"], 1, "{counts:?}");
        assert_eq!(counts["init"], 1, "{counts:?}");
        assert_eq!(
            counts["response"],
            1 + usize::from(counts.contains_key("cancelled"))
        );
    }
}

#[test]
fn text_deltas_add_up_to_the_text_of_their_block() {
    let mut text_of_deltas = String::new();
    let mut text_of_blocks = String::new();
    for line in lines(WITH_TOOL) {
        match line {
            Line::TextDelta(text) => text_of_deltas.push_str(&text),
            Line::Assistant { blocks, .. } => {
                for block in blocks {
                    if let Block::Text { text } = block {
                        text_of_blocks.push_str(&text);
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(text_of_deltas, text_of_blocks);
    assert!(text_of_blocks.starts_with("Checking the box now."));
}

#[test]
fn a_tool_call_and_its_result_have_the_same_id() {
    let all = lines(WITH_TOOL);
    let call = all.iter().find_map(|line| match line {
        Line::Assistant { blocks, .. } => blocks.iter().find_map(|block| match block {
            Block::ToolUse { id, name, input } => Some((id, name, input)),
            _ => None,
        }),
        _ => None,
    });
    let result = all.iter().find_map(|line| match line {
        Line::ToolResults(results) => results.first(),
        _ => None,
    });
    let ((id, name, input), result) = (call.unwrap(), result.unwrap());
    assert_eq!((id, &**name), (&result.id, "Bash"));
    assert_eq!(input["command"], "echo hello from devvm; uptime");
    assert!(result.output.starts_with("hello from devvm\n") && !result.is_error);
}

#[test]
fn a_retry_has_its_status_and_attempt() {
    let retry = lines(OVERLOADED).into_iter().find_map(|line| match line {
        Line::ApiRetry(retry) => Some(retry),
        _ => None,
    });
    let retry = retry.unwrap();
    assert_eq!(
        (retry.attempt, retry.max_retries, retry.error_status),
        (1, 3, Some(529))
    );
    assert_eq!(retry.error.as_deref(), Some("overloaded"));
}

#[test]
fn an_allowed_tool_use_repeats_its_input_unchanged() {
    let found = lines(ALLOWED).into_iter().find_map(|line| match line {
        Line::ControlRequest { request, tool_use } => Some((request, tool_use.unwrap())),
        _ => None,
    });
    let (request, tool_use) = found.unwrap();
    let response: serde_json::Value =
        serde_json::from_str(&allow(&request, tool_use.input)).unwrap();
    assert_eq!(response["response"]["request_id"], *request);
    let input: serde_json::Value = serde_json::from_str(tool_use.input.get()).unwrap();
    assert_eq!(response["response"]["response"]["updatedInput"], input);
    assert_eq!(response["response"]["response"]["behavior"], "allow");
}

#[test]
fn an_api_error_ends_the_turn_with_its_status() {
    let result = lines(UNAUTHORIZED).into_iter().find_map(|line| match line {
        Line::TurnResult(result) => Some(result),
        _ => None,
    });
    let result = result.unwrap();
    assert!(result.is_error);
    assert_eq!(result.api_error_status, Some(401));
}

#[test]
fn a_new_kind_is_unknown_and_a_known_kind_in_another_shape_is_a_bad_line() {
    assert!(matches!(
        decode(r#"{"type":"telepathy","strength":9}"#),
        Ok(Line::Unknown)
    ));
    for bad in [
        "",
        "npm warn deprecated",
        "{",
        "[]",
        r#"{"type":"assistant","message":7}"#,
    ] {
        assert!(decode(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_result_with_odd_fields_still_ends_the_turn() {
    let line = decode(r#"{"type":"result","is_error":"maybe"}"#).unwrap();
    assert!(matches!(
        line,
        Line::TurnResult(TurnResult { is_error: true, .. })
    ));
}

#[test]
fn the_text_of_a_sub_agent_is_ignored() {
    let line = r#"{"type":"assistant","parent_tool_use_id":"toolu_1","message":{"content":[]}}"#;
    assert!(matches!(decode(line), Ok(Line::Ignored)));
}

#[test]
fn output_in_parts_is_joined_and_unescaped() {
    let line = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"a",
        "content":[{"type":"text","text":"x\ty"},{"type":"image"},{"type":"text","text":"z"}]}]}}"#;
    let Ok(Line::ToolResults(results)) = decode(line) else {
        panic!("no results")
    };
    assert_eq!(results[0].output, "x\ty\nz");
}

proptest::proptest! {
    #[test]
    fn no_line_makes_the_decoder_panic(line in "\\PC{0,200}") {
        let _ = decode(&line);
    }

    #[test]
    fn no_damage_to_a_recorded_line_makes_the_decoder_panic(
        pick in 0usize..200, at in 0usize..4000, byte in proptest::num::u8::ANY,
    ) {
        let all: Vec<&str> = WITH_TOOL.lines().chain(INTERRUPTED.lines()).collect();
        let mut line = all[pick % all.len()].as_bytes().to_vec();
        let at = at % line.len();
        line[at] = byte;
        let _ = decode(&line);
        line.truncate(at);
        let _ = decode(&line);
    }
}
