//! Properties of every turn, whatever the CLI prints and whatever else happens.

use std::collections::BTreeSet;
use std::time::Duration;

use breakglass_model::{Actor, EventBody};
use proptest::prelude::*;

use super::{Effect, Input, Turn};
use crate::wire;

const LIMIT: Duration = Duration::from_secs(1);

/// Lines of the CLI in any order, and other inputs.
#[derive(Debug, Clone)]
enum Step {
    Line(String),
    Stop,
    TimeLimit,
    Silent,
    Ruled(String, bool),
    Gone,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0u8..4;
    let tool = prop_oneof![Just("Bash"), Just("Write"), Just("\u{1b}[2J")];
    let step = prop_oneof![
        4 => (id.clone(), tool.clone()).prop_map(|(id, tool)| Step::Line(format!(
            r#"{{"type":"assistant","message":{{"model":"m","content":[{{"type":"tool_use","id":"t{id}","name":{tool:?},"input":{{"command":"x"}}}}]}}}}"#
        ).replace("\\u{1b}", "\\u001b"))),
        4 => id.clone().prop_map(|id| Step::Line(format!(
            r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"t{id}","content":"out"}}]}}}}"#
        ))),
        3 => (id.clone(), tool).prop_map(|(id, tool)| Step::Line(format!(
            r#"{{"type":"control_request","request_id":"r{id}","request":{{"subtype":"can_use_tool","tool_name":{tool:?},"input":{{"command":"x"}},"tool_use_id":"t{id}"}}}}"#
        ).replace("\\u{1b}", "\\u001b"))),
        2 => Just(Step::Line(r#"{"type":"assistant","message":{"model":"m","content":[{"type":"text","text":"hi"}]}}"#.into())),
        1 => Just(Step::Line(r#"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":3,"error_status":401}"#.into())),
        1 => Just(Step::Line(r#"{"type":"result","is_error":false}"#.into())),
        1 => Just(Step::Line(r#"{"type":"result","is_error":true,"result":"no"}"#.into())),
        1 => Just(Step::Line(r#"{"type":"result","is_error":true,"origin":{"kind":"task-notification"}}"#.into())),
        1 => Just(Step::Line(r#"{"type":"system","subtype":"status","status":"compacting","compact_result":"failed"}"#.into())),
        1 => Just(Step::Line(r#"{"type":"assistant","error":"server_error","message":{"model":"<synthetic>","content":[{"type":"text","text":"API Error"}]}}"#.into())),
        3 => (id.clone(), any::<bool>()).prop_map(|(id, yes)| Step::Ruled(format!("r{id}"), yes)),
        1 => id.prop_map(|id| Step::Line(format!(r#"{{"type":"control_cancel_request","request_id":"r{id}"}}"#))),
        1 => Just(Step::Stop),
        1 => Just(Step::TimeLimit),
        1 => Just(Step::Silent),
        1 => Just(Step::Gone),
    ];
    proptest::collection::vec(step, 0..40)
}

fn apply(turn: &mut Turn, step: &Step) -> Vec<Effect> {
    let input = match step {
        Step::Line(line) => Input::Line(wire::decode(line).expect("the line is well-formed")),
        Step::Stop => Input::Stop(Actor::System),
        Step::TimeLimit => Input::TimeLimit(LIMIT),
        Step::Silent => Input::Silent {
            so_far: LIMIT / 2,
            limit: LIMIT,
        },
        Step::Ruled(request, yes) => Input::Ruled {
            request: request.clone(),
            permission: yes.then_some(()).ok_or_else(|| "no".to_owned()),
        },
        Step::Gone => Input::Gone("gone".to_owned()),
    };
    turn.step(input, LIMIT)
}

/// All effects of a turn whose CLI dies at the end.
fn effects(steps: &[Step]) -> Vec<Effect> {
    let mut turn = Turn::new(1, 0.0);
    let mut all: Vec<Effect> = steps
        .iter()
        .flat_map(|step| apply(&mut turn, step))
        .collect();
    all.extend(apply(&mut turn, &Step::Gone));
    all
}

fn is_end(effect: &Effect) -> bool {
    matches!(effect, Effect::Record(_, EventBody::TurnEnded { .. }))
}

proptest! {
    #[test]
    fn a_turn_ends_exactly_once_and_does_nothing_after(steps in steps()) {
        let all = effects(&steps);
        prop_assert_eq!(all.iter().filter(|effect| is_end(effect)).count(), 1);
        prop_assert!(is_end(all.last().unwrap()));
    }

    #[test]
    fn every_tool_that_started_finishes_exactly_once(steps in steps()) {
        let mut open = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for effect in effects(&steps) {
            match effect {
                Effect::Record(_, EventBody::ToolStarted { tool_call, .. }) => {
                    prop_assert!(seen.insert(tool_call.clone()), "{} started twice", tool_call);
                    open.insert(tool_call);
                }
                Effect::Record(_, EventBody::ToolFinished { tool_call, .. }) => {
                    prop_assert!(open.remove(&tool_call), "{} finished unstarted", tool_call);
                }
                _ => {}
            }
        }
        prop_assert!(open.is_empty(), "still open: {:?}", open);
    }

    #[test]
    fn nothing_is_allowed_unrecorded_or_after_a_stop(steps in steps()) {
        let mut turn = Turn::new(1, 0.0);
        let mut recorded = false;
        let mut ending = false;
        for step in &steps {
            for effect in apply(&mut turn, step) {
                match effect {
                    Effect::Record(_, EventBody::ToolStarted { .. }) => recorded = true,
                    Effect::Send(line) if line.contains(r#""behavior":"allow""#) => {
                        prop_assert!(recorded && !ending);
                    }
                    Effect::Interrupt => {
                        prop_assert!(!ending, "interrupted twice");
                        ending = true;
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn every_question_gets_a_response_at_once_or_with_its_ruling(steps in steps()) {
        let mut turn = Turn::new(1, 0.0);
        let mut open = BTreeSet::new();
        for step in &steps {
            let running = turn.outcome().is_none();
            let effects = apply(&mut turn, step);
            let sent = effects.iter().filter(|e| matches!(e, Effect::Send(_))).count();
            let judged = effects.iter().find_map(|effect| match effect {
                Effect::Judge { request, .. } => Some(request.clone()),
                _ => None,
            });
            let asks = matches!(step, Step::Line(line) if line.contains("can_use_tool"));
            let settles = match step {
                Step::Ruled(request, _) => open.remove(request) && running,
                Step::Line(line) if line.contains("control_cancel_request") => {
                    open.retain(|request: &String| !line.contains(request.as_str()));
                    false
                }
                _ => false,
            };
            prop_assert_eq!(sent + usize::from(judged.is_some()), usize::from((asks && running) || settles));
            open.extend(judged);
        }
    }
}
