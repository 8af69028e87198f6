//! Excerpts of lines that cannot be decoded.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A tool result as the CLI writes it: the call's id comes last if the tool failed.
fn result_line(call: &str, output: &Value, is_error: bool, stdout: &str) -> String {
    let item = if is_error {
        format!(
            r#"{{"type":"tool_result","content":{output},"is_error":true,"tool_use_id":{}}}"#,
            json!(call)
        )
    } else {
        format!(
            r#"{{"tool_use_id":{},"type":"tool_result","content":{output},"is_error":false}}"#,
            json!(call)
        )
    };
    format!(
        r#"{{"type":"user","message":{{"role":"user","content":[{item}]}},"parent_tool_use_id":null,"tool_use_result":{}}}"#,
        json!({"stdout": stdout})
    )
}

/// Id, output, failure and omitted bytes of each result.
fn results(line: &Line<'_>) -> Vec<(String, String, bool, u64)> {
    let Line::ToolResults(results) = line else {
        panic!("no results: {line:?}")
    };
    let fields = results.iter().map(|result| {
        let (id, output) = (result.id.to_string(), result.output.to_string());
        (id, output, result.is_error, result.omitted)
    });
    fields.collect()
}

async fn read_all(input: &[u8], max: usize) -> Vec<String> {
    let mut lines = Lines::with_max(input, max);
    let mut all = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        all.push(format!("{:?}", read(&line)));
    }
    all
}

#[test]
fn a_too_long_result_keeps_its_call_its_beginning_and_the_number_of_omitted_bytes() {
    for is_error in [false, true] {
        let output = "line \u{e4}\n".repeat(100_000);
        let line = result_line("toolu_1", &json!(output), is_error, "");
        let excerpt = Excerpt::of(line.as_bytes());
        let (call, text, failed, omitted) = results(&excerpt.line()).remove(0);
        assert_eq!((call.as_str(), failed), ("toolu_1", is_error));
        let (head, note) = text.rsplit_once('\n').unwrap();
        assert!(output.starts_with(head), "{head}");
        assert!(head.len() > 10_000, "{}", head.len());
        assert_eq!(
            note,
            format!("[output incomplete: {omitted} bytes left out]")
        );
        assert!(omitted > 700_000, "{omitted}");
    }
}

#[test]
fn a_short_output_is_complete_though_its_line_is_too_long() {
    let line = result_line("t", &json!("all of it"), false, &"x".repeat(1_000_000));
    let expected = ("t".to_owned(), "all of it".to_owned(), false, 0);
    assert_eq!(results(&Excerpt::of(line.as_bytes()).line()), [expected]);
}

#[test]
fn an_output_in_parts_is_left_out_and_counted() {
    let parts =
        json!([{"type": "image", "source": {"data": "A".repeat(500_000), "tool_use_id": "no"}}]);
    let line = result_line("t", &parts, false, "");
    let (call, text, _, omitted) = results(&Excerpt::of(line.as_bytes()).line()).remove(0);
    assert_eq!(call, "t");
    assert!(omitted > 500_000, "{omitted}");
    assert!(text.starts_with("[output incomplete: "), "{text}");
}

#[test]
fn text_that_a_tool_printed_is_not_taken_for_a_key() {
    let output = json!(r#""tool_use_id":"other","is_error":true,"type":"result","#);
    let line = result_line("toolu_1", &output, false, "");
    let read = decode(&line).unwrap();
    assert_eq!(
        results(&Excerpt::of(line.as_bytes()).line()),
        results(&read)
    );
}

#[tokio::test]
async fn a_line_of_a_hundred_megabytes_is_an_excerpt_and_the_next_line_is_read() {
    let head =
        br#"{"type":"user","message":{"role":"user","content":[{"type":"tool_result","content":""#;
    let tail = br#"","is_error":true,"tool_use_id":"t9"}]}}
{"type":"result","is_error":false}
"#;
    let input = [&head[..], &b"\\n x"[..].repeat(25_000_000), &tail[..]].concat();
    let mut lines = Lines::new(&input[..]);
    let line = lines.next().await.unwrap().unwrap();
    assert!(matches!(line, RawLine::TooLong(excerpt) if excerpt.bytes() > 100_000_000));
    assert_eq!(results(&read(&line).0)[0].0, "t9");
    let next = lines.next().await.unwrap().unwrap();
    let (next, is_known) = read(&next);
    assert!(matches!(next, Line::TurnResult(result) if !result.failed()) && is_known);
}

#[test]
fn a_control_request_that_is_too_long_can_be_answered() {
    let command = "x".repeat(99_999);
    let line = format!(
        r#"{{"type":"control_request","request_id":"r7","request":{{"subtype":"can_use_tool","tool_name":"Bash","input":{{"command":"{command}"}}}}}}"#
    );
    let line = Excerpt::of(line.as_bytes()).line();
    assert!(matches!(line, Line::ControlRequest { request, tool_use: None } if &*request == "r7"));
}

#[test]
fn a_damaged_result_ends_the_turn_as_failed_and_keeps_its_cost_and_origin() {
    let line = br#"{"type":"result","subtype":"success","is_error":false,"result":"We"#;
    let Line::TurnResult(result) = Excerpt::of(line).line() else {
        panic!("no result")
    };
    assert!(result.failed() && result.is_of_prompt());
    let long = format!(
        r#"{{"type":"result","is_error":false,"result":"{}","total_cost_usd":0.25,"origin":{{"kind":"task-notification"}}}}"#,
        "x".repeat(99_999)
    );
    let Line::TurnResult(result) = Excerpt::of(long.as_bytes()).line() else {
        panic!("no result")
    };
    assert!(result.failed() && !result.is_of_prompt());
    assert_eq!(result.total_cost_usd, Some(0.25));
}

#[test]
fn an_answer_that_is_too_long_is_unknown() {
    for parent in [r#""parent_tool_use_id":"toolu_1","#, ""] {
        let line = format!(
            r#"{{"type":"assistant",{parent}"message":{{"content":[{{"type":"text","text":"{}"}}]}}}}"#,
            "x".repeat(99_999)
        );
        assert!(matches!(Excerpt::of(line.as_bytes()).line(), Line::Unknown));
    }
}

#[test]
fn an_odd_field_of_a_result_does_not_affect_the_others() {
    let line = r#"{"type":"result","subtype":7,"is_error":false,"errors":[{"message":"a"},"b",3],
        "origin":"task-notification","api_error_status":"x","total_cost_usd":"y"}"#;
    let Line::TurnResult(result) = decode(line).unwrap() else {
        panic!("no result")
    };
    assert_eq!(result.errors, ["a", "b", "3"]);
    assert!(result.failed() && result.is_of_prompt());
}

proptest! {
    /// Also, if nothing is left out, an excerpt equals the decoded line.
    #[test]
    fn an_excerpt_does_not_depend_on_how_the_line_is_cut(
        call in "[a-z_0-9]{1,40}", output in "(\\PC|[\\n\"\\\\]|\u{1f600}){0,60}", is_error: bool,
        stdout in "(\\PC|[\"\\\\{\\[\\]}])" , cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let line = result_line(&call, &json!(output), is_error, &stdout);
        let mut excerpt = Excerpt::default();
        let mut rest = line.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            excerpt.push(piece);
            rest = after;
        }
        let uncut = Excerpt::of(line.as_bytes());
        prop_assert_eq!(format!("{:?}", excerpt.line()), format!("{:?}", uncut.line()));
        let decoded = decode(&line).unwrap();
        prop_assert_eq!(results(&excerpt.line()), results(&decoded));
    }

    #[test]
    fn the_excerpt_of_a_line_that_breaks_off_holds_only_what_is_in_the_line(
        output in "(\\PC|[\\n\"\\\\]|\u{1f600}){0,60}", is_error: bool, at in 0usize..400,
    ) {
        let line = result_line("toolu_1", &json!(output), is_error, "x");
        let part = &line.as_bytes()[..at.min(line.len())];
        if let Line::ToolResults(results) = Excerpt::of(part).line() {
            let text = &*results[0].output;
            let text = text.rsplit_once("[output incomplete").map_or(text, |(text, _)| text);
            let without_newline = text.strip_suffix('\n').unwrap_or(text);
            prop_assert!(output.starts_with(text) || output.starts_with(without_newline), "{text:?}");
            prop_assert_eq!(&*results[0].id, "toolu_1");
        }
    }

    #[test]
    fn no_bytes_make_an_excerpt_panic(bytes in prop::collection::vec(
        prop_oneof![3 => Just(b'"'), 2 => Just(b'{'), 2 => Just(b'}'), 1 => Just(b'['), 1 => Just(b']'),
            1 => Just(b','), 1 => Just(b':'), 1 => Just(b'\\'), 4 => any::<u8>()], 0..600)) {
        let line = [&br#"{"type":"user","tool_use_id":"t","content":""#[..], &bytes].concat();
        let _ = Excerpt::of(&line).line();
        let _ = Excerpt::of(&bytes).line();
    }

    #[test]
    fn no_damage_to_a_recorded_line_makes_an_excerpt_panic(
        pick in 0usize..200, at in 0usize..4000, byte: u8,
    ) {
        let all: Vec<&str> = WITH_TOOL.lines().chain(INTERRUPTED.lines()).collect();
        let mut line = all[pick % all.len()].as_bytes().to_vec();
        let at = at % line.len();
        line[at] = byte;
        let _ = Excerpt::of(&line).line();
        line.truncate(at);
        let _ = Excerpt::of(&line).line();
    }
}

#[test]
fn an_excerpt_of_an_endless_line_stays_small() {
    let mut excerpt = Excerpt::default();
    excerpt.push(br#"{"type":"user","tool_use_id":"t","content":""#);
    for _ in 0..1_000 {
        excerpt.push(&[b'x'; 10_000]);
    }
    assert!(format!("{excerpt:?}").len() < 500_000);
}

#[tokio::test]
async fn every_recorded_tool_result_is_found_in_excerpts_too() {
    let whole = read_all(WITH_TOOL.as_bytes(), MAX_LINE_BYTES).await;
    let excerpts = read_all(WITH_TOOL.as_bytes(), 10).await;
    assert_eq!(whole.len(), excerpts.len());
    let results = |lines: &[String]| {
        lines
            .iter()
            .filter(|line| line.contains("ToolResults"))
            .count()
    };
    assert_eq!(results(&whole), results(&excerpts));
}
