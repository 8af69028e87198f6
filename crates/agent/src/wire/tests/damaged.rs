//! What is known of lines that can't be read.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A result as the CLI writes it: where a tool failed, the call comes last.
fn result_line(call: &str, output: &Value, is_error: bool, beside: &str) -> String {
    // Its keys in the CLI's order.
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
        json!({"stdout": beside})
    )
}

fn results(line: &Line<'_>) -> Vec<(String, String, bool, u64)> {
    let Line::ToolResults(results) = line else {
        panic!("no results: {line:?}")
    };
    let seen = results.iter().map(|result| {
        let (id, output) = (result.id.to_string(), result.output.to_string());
        (id, output, result.is_error, result.omitted)
    });
    seen.collect()
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
fn an_over_long_result_is_known_by_its_call_with_its_beginning_and_how_much_is_left_out() {
    for is_error in [false, true] {
        let output = "line \u{e4}\n".repeat(100_000);
        let line = result_line("toolu_1", &json!(output), is_error, "");
        let outline = Outline::of(line.as_bytes());
        let (call, text, failed, omitted) = results(&outline.line()).remove(0);
        assert_eq!((call.as_str(), failed), ("toolu_1", is_error));
        let (head, note) = text.rsplit_once('\n').unwrap();
        assert!(
            output.starts_with(head) && head.len() > 10_000,
            "{}",
            head.len()
        );
        assert_eq!(note, format!("[output too long: {omitted} bytes left out]"));
        assert!(omitted > 700_000, "{omitted}");
    }
}

#[test]
fn an_output_that_is_there_twice_is_not_cut_where_the_first_fits() {
    let line = result_line("t", &json!("all of it"), false, &"x".repeat(1_000_000));
    let seen = results(&Outline::of(line.as_bytes()).line());
    let whole = ("t".to_owned(), "all of it".to_owned(), false, 0);
    assert_eq!(seen, [whole]);
}

#[test]
fn an_output_in_parts_is_left_out_and_counted() {
    let parts =
        json!([{"type": "image", "source": {"data": "A".repeat(500_000), "tool_use_id": "no"}}]);
    let seen = results(&Outline::of(result_line("t", &parts, false, "").as_bytes()).line());
    let (call, text, _, omitted) = &seen[0];
    assert_eq!(call, "t");
    assert!(
        *omitted > 500_000 && text.starts_with("[output too long: "),
        "{text}"
    );
}

#[tokio::test]
async fn a_line_of_a_hundred_megabytes_is_a_stub_and_the_next_line_is_read() {
    let head =
        br#"{"type":"user","message":{"role":"user","content":[{"type":"tool_result","content":""#;
    let tail = br#"","is_error":true,"tool_use_id":"t9"}]}}
{"type":"result","is_error":false}
"#;
    let input = [&head[..], &b"\\n x"[..].repeat(25_000_000), &tail[..]].concat();
    let mut lines = Lines::new(&input[..]);
    let line = lines.next().await.unwrap().unwrap();
    assert!(matches!(line, RawLine::TooLong(outline) if outline.bytes() > 100_000_000));
    assert_eq!(results(&read(&line).0)[0].0, "t9");
    let next = lines.next().await.unwrap().unwrap();
    assert!(matches!(
        read(&next),
        (
            Line::Ended(Ending {
                is_error: false,
                ..
            }),
            true
        )
    ));
}

#[test]
fn a_question_that_is_too_long_to_be_read_can_be_answered() {
    let line = json!({"type": "control_request", "request_id": "r7", "request":
        {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "x".repeat(99_999)}}});
    let line = Outline::of(line.to_string().as_bytes()).line();
    assert!(matches!(line, Line::Ask { request, question: None } if &*request == "r7"));
}

#[test]
fn a_damaged_result_ends_the_turn_as_failed_and_one_of_another_origin_keeps_that() {
    let line =
        Outline::of(br#"{"type":"result","subtype":"success","is_error":false,"result":"We"#);
    assert!(matches!(line.line(), Line::Ended(ending) if ending.failed() && ending.is_of_prompt()));
    let long = json!({"type": "result", "is_error": false, "result": "x".repeat(99_999),
        "total_cost_usd": 0.25, "origin": {"kind": "task-notification"}});
    let Line::Ended(ending) = Outline::of(long.to_string().as_bytes()).line() else {
        panic!("no end")
    };
    assert!(!ending.failed() && !ending.is_of_prompt());
    assert_eq!(ending.total_cost_usd, Some(0.25));
}

#[test]
fn what_a_sub_agent_says_stays_unsaid_where_it_is_too_long() {
    let line = json!({"type": "assistant", "parent_tool_use_id": "toolu_1", "message":
        {"content": [{"type": "text", "text": "x".repeat(99_999)}]}});
    let line = line.to_string();
    assert!(matches!(Outline::of(line.as_bytes()).line(), Line::Quiet));
}

#[tokio::test]
async fn a_stub_of_an_over_long_line_is_read_as_the_line_is() {
    for line in [
        result_line("t", &json!("x".repeat(99_999)), true, ""),
        json!({"type": "result", "is_error": true, "result": "x".repeat(99_999)}).to_string(),
        json!({"type": "assistant", "message": {"content": [
            {"type": "text", "text": "x".repeat(99_999)}, {"type": "tool_use", "id": "t",
            "name": "Bash", "input": {"command": "x".repeat(9_999)}}]}})
        .to_string(),
        json!({"type": "control_request", "request_id": "r", "request": {}}).to_string(),
    ] {
        let outline = Outline::of(line.as_bytes());
        let text = stub(&outline.line());
        let again = decode(&text).unwrap();
        match (outline.line(), again) {
            (Line::ToolResults(one), Line::ToolResults(two)) => {
                assert_eq!((&one[0].id, &one[0].output), (&two[0].id, &two[0].output));
            }
            (one, two) => assert_eq!(format!("{one:?}"), format!("{two:?}")),
        }
    }
}

#[test]
fn odd_parts_of_a_result_cost_nothing_else() {
    let line = r#"{"type":"result","subtype":7,"is_error":false,"errors":[{"message":"a"},"b",3],
        "origin":"task-notification","api_error_status":"x","total_cost_usd":"y"}"#;
    let Line::Ended(ending) = decode(line).unwrap() else {
        panic!("no end")
    };
    assert_eq!(ending.errors, ["a", "b", "3"]);
    assert!(ending.failed() && ending.is_of_prompt());
}

proptest! {
    /// However the pieces are cut, an outline says the same; and where nothing is left out, what a
    /// reader of JSON says.
    #[test]
    fn an_outline_says_what_the_line_says_however_it_is_cut(
        call in "[a-z_0-9]{1,40}", output in "(\\PC|[\\n\"\\\\]|\u{1f600}){0,60}", is_error: bool,
        beside in "(\\PC|[\"\\\\{\\[\\]}])" , cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let line = result_line(&call, &json!(output), is_error, &beside);
        let mut outline = Outline::default();
        let mut rest = line.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            outline.take(piece);
            rest = after;
        }
        let one = Outline::of(line.as_bytes());
        prop_assert_eq!(format!("{:?}", outline.line()), format!("{:?}", one.line()));
        let read = decode(&line).unwrap();
        prop_assert_eq!(results(&outline.line()), results(&read));
    }

    /// A line that breaks off anywhere says nothing that the whole line does not.
    #[test]
    fn a_line_that_breaks_off_says_nothing_that_is_not_in_it(
        output in "(\\PC|[\\n\"\\\\]|\u{1f600}){0,60}", is_error: bool, at in 0usize..400,
    ) {
        let line = result_line("toolu_1", &json!(output), is_error, "x");
        let part = &line.as_bytes()[..at.min(line.len())];
        if let Line::ToolResults(results) = Outline::of(part).line() {
            let said = results[0].output.split('[').next().unwrap_or_default();
            prop_assert!(output.starts_with(said.trim_end_matches('\n')) || output.starts_with(said), "{said:?}");
            prop_assert_eq!(&*results[0].id, "toolu_1");
        }
    }

    #[test]
    fn no_bytes_make_an_outline_panic_or_grow(bytes in prop::collection::vec(
        prop_oneof![3 => Just(b'"'), 2 => Just(b'{'), 2 => Just(b'}'), 1 => Just(b'['), 1 => Just(b']'),
            1 => Just(b','), 1 => Just(b':'), 1 => Just(b'\\'), 4 => any::<u8>()], 0..600)) {
        let outline = Outline::of(&bytes);
        let _ = outline.line();
        let _ = stub(&outline.line());
    }

    #[test]
    fn no_damage_to_a_recorded_line_makes_an_outline_panic(
        pick in 0usize..200, at in 0usize..4000, byte: u8,
    ) {
        let all: Vec<&str> = WITH_TOOL.lines().chain(INTERRUPTED.lines()).collect();
        let mut line = all[pick % all.len()].as_bytes().to_vec();
        let at = at % line.len();
        line[at] = byte;
        let _ = Outline::of(&line).line();
        line.truncate(at);
        let _ = Outline::of(&line).line();
    }
}

#[tokio::test]
async fn recorded_lines_are_read_alike_from_a_pipe_that_holds_little_of_them() {
    let whole = read_all(WITH_TOOL.as_bytes(), MAX_LINE).await;
    let short = read_all(WITH_TOOL.as_bytes(), 10).await;
    assert_eq!(whole.len(), short.len());
    let called = |lines: &[String]| {
        lines
            .iter()
            .filter(|line| line.contains("ToolResults"))
            .count()
    };
    assert_eq!(called(&whole), called(&short));
}
