//! The decoder against what the CLI printed in earnest (version 2.1.197).

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
            Line::Said { .. } => "said",
            Line::ToolResults(_) => "results",
            Line::Ask { .. } => "ask",
            Line::AskCancelled { .. } => "cancelled",
            Line::Answer { .. } => "answer",
            Line::Ended(_) => "ended",
            Line::Quiet => "quiet",
            Line::Unknown => "unknown",
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[test]
fn no_recorded_line_is_of_an_unknown_kind_and_each_turn_ends_once() {
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
        assert_eq!(counts["ended"], 1, "{counts:?}");
        assert_eq!(counts["init"], 1, "{counts:?}");
        assert_eq!(
            counts["answer"],
            1 + usize::from(counts.contains_key("cancelled"))
        );
    }
}

#[test]
fn the_deltas_of_a_block_are_its_text() {
    let mut typed = String::new();
    let mut said = String::new();
    for line in lines(WITH_TOOL) {
        match line {
            Line::TextDelta(text) => typed.push_str(&text),
            Line::Said { blocks, .. } => {
                for block in blocks {
                    if let Block::Text { text } = block {
                        said.push_str(&text);
                    }
                }
            }
            _ => {}
        }
    }
    assert_eq!(typed, said);
    assert!(said.starts_with("Checking the box now."), "{said}");
}

#[test]
fn a_tool_call_and_its_result_carry_the_same_id() {
    let all = lines(WITH_TOOL);
    let call = all.iter().find_map(|line| match line {
        Line::Said { blocks, .. } => blocks.iter().find_map(|block| match block {
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
fn a_retry_tells_the_status_and_which_try() {
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
fn a_question_is_answered_with_its_own_input_word_for_word() {
    let asked = lines(ALLOWED).into_iter().find_map(|line| match line {
        Line::Ask { request, question } => Some((request, question.unwrap())),
        _ => None,
    });
    let (request, question) = asked.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&allow(&request, question.input)).unwrap();
    assert_eq!(answer["response"]["request_id"], *request);
    let input: serde_json::Value = serde_json::from_str(question.input.get()).unwrap();
    assert_eq!(answer["response"]["response"]["updatedInput"], input);
    assert_eq!(answer["response"]["response"]["behavior"], "allow");
}

#[test]
fn an_error_of_the_api_ends_the_turn_with_its_status() {
    let end = lines(UNAUTHORIZED).into_iter().find_map(|line| match line {
        Line::Ended(ending) => Some(ending),
        _ => None,
    });
    let end = end.unwrap();
    assert!(end.is_error);
    assert_eq!(end.api_error_status, Some(401));
}

#[test]
fn a_kind_that_came_later_is_unknown_and_a_known_one_in_another_shape_is_a_bad_line() {
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
fn a_result_in_another_shape_still_ends_the_turn() {
    let line = decode(r#"{"type":"result","is_error":"maybe"}"#).unwrap();
    assert!(matches!(line, Line::Ended(Ending { is_error: true, .. })));
}

#[test]
fn what_is_read_at_once_is_read_with_care_alike() {
    let recordings = [WITH_TOOL, OVERLOADED, ALLOWED, DENIED, INTERRUPTED];
    let mut at_once = 0;
    for line in recordings.iter().flat_map(|recording| recording.lines()) {
        let Some(quick) = super::at_once::decode(line.as_bytes()) else {
            continue;
        };
        at_once += 1;
        let careful = super::decode::decode_with_care(line.as_bytes()).unwrap();
        assert_eq!(format!("{quick:?}"), format!("{careful:?}"), "{line}");
    }
    let (deltas, results) = (counted(WITH_TOOL)["delta"], counted(WITH_TOOL)["results"]);
    assert!(
        at_once >= deltas + results,
        "{at_once} of {deltas} and {results}"
    );
}

#[test]
fn what_a_sub_agent_says_is_not_the_agents_word() {
    let line = r#"{"type":"assistant","parent_tool_use_id":"toolu_1","message":{"content":[]}}"#;
    assert!(matches!(decode(line), Ok(Line::Quiet)));
}

#[test]
fn output_in_parts_is_joined_and_escapes_are_read() {
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
