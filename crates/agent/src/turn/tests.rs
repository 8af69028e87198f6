use std::time::Duration;

use breakglass_model::{Actor, EventBody, Frame, TurnOutcome};

use super::{Effect, Input, Turn};
use crate::wire;

mod endings;

const WITH_TOOL: &str = include_str!("../../tests/recordings/turn-with-tool.jsonl");
const OVERLOADED: &str = include_str!("../../tests/recordings/api-overloaded.jsonl");
const UNAUTHORIZED: &str = include_str!("../../tests/recordings/api-unauthorized.jsonl");
const ALLOWED: &str = include_str!("../../tests/recordings/approval-allowed.jsonl");
const INTERRUPTED: &str = include_str!("../../tests/recordings/interrupted-at-approval.jsonl");

const SECOND: Duration = Duration::from_secs(1);

/// Feeds a line, and allows the tool use that it asks for.
fn feed(turn: &mut Turn, line: &str) -> Vec<Effect> {
    let mut effects = ask(turn, line);
    for request in judged(&effects) {
        effects.extend(rule(turn, &request, Ok(())));
    }
    effects
}

fn ask(turn: &mut Turn, line: &str) -> Vec<Effect> {
    turn.step(Input::Line(wire::decode(line).unwrap()), SECOND)
}

fn rule(turn: &mut Turn, request: &str, permission: Result<(), String>) -> Vec<Effect> {
    let request = request.to_owned();
    turn.step(
        Input::Ruled {
            request,
            permission,
        },
        SECOND,
    )
}

fn judged(effects: &[Effect]) -> Vec<String> {
    let questions = effects.iter().filter_map(|effect| match effect {
        Effect::Judge { request, .. } => Some(request.clone()),
        _ => None,
    });
    questions.collect()
}

/// The CLI asks for permission to run one Bash call.
fn bash(request: &str, call: &str) -> String {
    format!(
        r#"{{"type":"control_request","request_id":"{request}","request":{{"subtype":"can_use_tool",
        "tool_name":"Bash","input":{{"command":"ssh devvm reboot"}},"tool_use_id":"{call}"}}}}"#
    )
}

fn play(turn: &mut Turn, recording: &str) -> Vec<Effect> {
    recording
        .lines()
        .flat_map(|line| feed(turn, line))
        .collect()
}

fn played(recording: &str) -> Vec<Effect> {
    play(&mut Turn::new(1, 0.0), recording)
}

fn bodies(effects: &[Effect]) -> Vec<&EventBody> {
    let recorded = effects.iter().filter_map(|effect| match effect {
        Effect::Record(_, body) => Some(body),
        _ => None,
    });
    recorded.collect()
}

fn kinds(effects: &[Effect]) -> Vec<&'static str> {
    bodies(effects).into_iter().map(EventBody::kind).collect()
}

fn end(effects: &[Effect]) -> (&Actor, TurnOutcome, Option<&str>) {
    match effects.last() {
        Some(Effect::Record(
            actor,
            EventBody::TurnEnded {
                outcome, reason, ..
            },
        )) => (actor, *outcome, reason.as_deref()),
        other => panic!("the last effect is not the turn's end: {other:?}"),
    }
}

fn notices(effects: &[Effect]) -> Vec<(&str, &str)> {
    let notices = bodies(effects).into_iter().filter_map(|body| match body {
        EventBody::Notice { code, message, .. } => Some((code.as_str(), message.as_str())),
        _ => None,
    });
    notices.collect()
}

#[test]
fn a_turn_with_a_tool_records_text_tool_text_and_end() {
    let effects = played(WITH_TOOL);
    let expected = [
        "text",
        "tool_started",
        "tool_finished",
        "text",
        "turn_ended",
    ];
    assert_eq!(kinds(&effects), expected);
    assert_eq!(end(&effects), (&Actor::Agent, TurnOutcome::Done, None));
}

#[test]
fn text_deltas_are_shown_before_their_text_is_recorded() {
    let effects = played(WITH_TOOL);
    let shown = |effect: &Effect| matches!(effect, Effect::Show(Frame::TextDelta { .. }));
    assert_eq!(effects.iter().take_while(|effect| shown(effect)).count(), 8);
}

#[test]
fn each_retry_of_an_overloaded_api_is_a_notice() {
    let effects = played(OVERLOADED);
    let notices = notices(&effects);
    assert_eq!(notices.len(), 3);
    assert_eq!(
        notices[2],
        (
            "model_unreachable",
            "The model does not answer (529 overloaded): attempt 3 of 3. Power and checks work without it."
        )
    );
    let (_, outcome, reason) = end(&effects);
    assert_eq!(outcome, TurnOutcome::Failed);
    assert!(reason.unwrap().contains("529"));
}

#[test]
fn text_of_the_cli_is_not_recorded_as_text_of_the_agent() {
    assert!(!kinds(&played(OVERLOADED)).contains(&"text"));
}

#[test]
fn an_expired_login_is_one_notice_and_the_reason() {
    let effects = played(UNAUTHORIZED);
    assert_eq!(notices(&effects).len(), 1);
    assert_eq!(notices(&effects)[0].0, "agent_login_expired");
    assert!(end(&effects).2.unwrap().contains("login has expired"));
}

#[test]
fn a_tool_is_recorded_before_it_is_allowed() {
    let effects = played(ALLOWED);
    let recorded = effects
        .iter()
        .position(|effect| matches!(effect, Effect::Record(_, EventBody::ToolStarted { .. })));
    let allowed = effects.iter().position(
        |effect| matches!(effect, Effect::Send(line) if line.contains(r#""behavior":"allow""#)),
    );
    assert!(recorded.unwrap() < allowed.unwrap());
}

#[test]
fn a_forbidden_tool_is_denied_and_recorded() {
    let effects = feed(
        &mut Turn::new(1, 0.0),
        r#"{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool",
            "tool_name":"WebFetch","input":{"url":"http://x"},"tool_use_id":"t"}}"#,
    );
    assert_eq!(kinds(&effects), ["tool_started"]);
    assert!(matches!(&effects[1], Effect::Send(line) if line.contains(r#""behavior":"deny""#)));
}

#[test]
fn a_call_gets_its_ruling_once() {
    let mut turn = Turn::new(1, 0.0);
    ask(&mut turn, &bash("r", "t"));
    let effects = rule(&mut turn, "r", Err("Not tonight.".to_owned()));
    assert!(matches!(&effects[..], [Effect::Send(line)] if line.contains("Not tonight.")));
    assert_eq!(rule(&mut turn, "r", Ok(())), []);
}

#[test]
fn a_withdrawn_question_gets_no_response() {
    let mut turn = Turn::new(1, 0.0);
    ask(&mut turn, &bash("r", "t"));
    let line = r#"{"type":"control_cancel_request","request_id":"r"}"#;
    assert_eq!(ask(&mut turn, line), [Effect::Withdraw("r".to_owned())]);
    assert_eq!(rule(&mut turn, "r", Ok(())), []);
}

fn running(turn: &Turn) -> Vec<&str> {
    turn.running_calls()
}

fn result_of(call: &str) -> String {
    format!(
        r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"{call}","content":"out"}}]}}}}"#
    )
}

#[test]
fn calls_run_from_their_permission_to_their_result() {
    let mut turn = Turn::new(1, 0.0);
    ask(&mut turn, &bash("r1", "t1"));
    ask(&mut turn, &bash("r2", "t2"));
    assert!(running(&turn).is_empty());
    rule(&mut turn, "r2", Ok(()));
    assert_eq!(running(&turn), ["t2"]);
    rule(&mut turn, "r1", Ok(()));
    assert_eq!(running(&turn), ["t1", "t2"]);
    ask(&mut turn, &result_of("t2"));
    assert_eq!(running(&turn), ["t1"]);
}

#[test]
fn a_call_without_a_question_counts_as_running_if_no_other_does() {
    let mut turn = Turn::new(1, 0.0);
    let call = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":"t0","name":"Bash","input":{"command":"df"}}]}}"#;
    ask(&mut turn, call);
    assert_eq!(running(&turn), ["t0"]);
    feed(&mut turn, &bash("r1", "t1"));
    assert_eq!(running(&turn), ["t1"]);
}

#[test]
fn an_allowed_command_exports_its_call() {
    let mut turn = Turn::new(1, 0.0);
    let effects = feed(&mut turn, &bash("r", "toolu_1"));
    let is_marked = |effect: &Effect| matches!(effect, Effect::Send(line) if line.contains(r"export BREAKGLASS_CALL=toolu_1\nssh devvm reboot"));
    assert!(effects.iter().any(is_marked), "{effects:?}");
}

#[test]
fn a_call_of_a_sub_agent_finishes_with_its_result() {
    let mut turn = Turn::new(1, 0.0);
    feed(&mut turn, &bash("r", "t"));
    let result = result_of("t").replace(
        r#"{"type":"user","#,
        r#"{"type":"user","parent_tool_use_id":"p","#,
    );
    assert_eq!(kinds(&ask(&mut turn, &result)), ["tool_finished"]);
}

#[test]
fn a_control_request_of_an_unknown_kind_gets_a_response() {
    let line = r#"{"type":"control_request","request_id":"r","request":{"subtype":"new"}}"#;
    let effects = feed(&mut Turn::new(1, 0.0), line);
    assert!(matches!(&effects[..], [Effect::Send(line)] if line.contains("error")));
}

#[test]
fn a_stop_interrupts_once_and_the_operator_is_the_actor() {
    let mut turn = Turn::new(1, 0.0);
    let ana = Actor::Operator("ana".to_owned());
    assert_eq!(
        turn.step(Input::Stop(ana.clone()), SECOND),
        [Effect::Interrupt]
    );
    assert_eq!(turn.step(Input::Stop(ana.clone()), SECOND), []);
    let effects = play(&mut turn, INTERRUPTED);
    assert_eq!(
        end(&effects),
        (&ana, TurnOutcome::Stopped, Some("Stopped by the operator."))
    );
}

#[test]
fn a_question_after_a_stop_is_denied() {
    let mut turn = Turn::new(1, 0.0);
    turn.step(Input::Stop(Actor::System), SECOND);
    let effects = play(&mut turn, INTERRUPTED);
    let allowed =
        |effect: &Effect| matches!(effect, Effect::Send(line) if line.contains("allow\""));
    assert!(!effects.iter().any(allowed));
}

#[test]
fn the_death_of_the_cli_closes_the_tool_and_the_turn() {
    let mut turn = Turn::new(1, 0.0);
    let until_tool: Vec<&str> = ALLOWED
        .lines()
        .take_while(|line| !line.contains("_result"))
        .collect();
    play(&mut turn, &until_tool.join("\n"));
    assert!(turn.is_tool_running());
    let effects = turn.step(Input::Gone("It died.".to_owned()), SECOND);
    assert_eq!(kinds(&effects), ["tool_finished", "turn_ended"]);
    assert_eq!(
        end(&effects),
        (&Actor::System, TurnOutcome::Interrupted, Some("It died."))
    );
}

#[test]
fn a_turn_past_its_limit_is_timed_out_even_if_the_cli_is_killed() {
    let mut turn = Turn::new(1, 0.0);
    assert_eq!(
        turn.step(Input::TimeLimit(90 * SECOND), SECOND),
        [Effect::Interrupt]
    );
    let effects = turn.step(Input::Gone("Killed.".to_owned()), SECOND);
    let (_, outcome, reason) = end(&effects);
    assert_eq!(outcome, TurnOutcome::TimedOut);
    assert!(reason.unwrap().contains("1 min 30 s"));
}

#[test]
fn the_cost_of_a_turn_is_the_increase_of_the_process_cost() {
    let mut turn = Turn::new(2, 0.25);
    let line = r#"{"type":"result","is_error":false,"total_cost_usd":0.75}"#;
    let effects = feed(&mut turn, line);
    assert!(matches!(
        bodies(&effects)[0],
        EventBody::TurnEnded {
            cost_usd: Some(0.5),
            ..
        }
    ));
}

#[test]
fn hostile_output_is_made_visible_and_bounded() {
    let mut turn = Turn::new(1, 0.0);
    feed(
        &mut turn,
        r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":"t",
        "name":"Bash","input":{"command":"cat \u001b[2Jlog"}}]}}"#,
    );
    let output = format!("\u{1b}[2J{}", "x".repeat(200_000));
    let line = serde_json::json!({"type": "user", "message": {"content": [
        {"type": "tool_result", "tool_use_id": "t", "content": output}]}});
    let effects = feed(&mut turn, &line.to_string());
    let EventBody::ToolFinished {
        output,
        omitted_bytes,
        ..
    } = bodies(&effects)[0]
    else {
        panic!("not a tool's end")
    };
    assert!(output.len() <= 64 * 1024 && !output.contains('\u{1b}'));
    assert!(*omitted_bytes > 130_000);
}
