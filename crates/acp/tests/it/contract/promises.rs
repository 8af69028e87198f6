//! The promises about turns.

use std::sync::Arc;

use breakglass_agent::AgentOptions;
use breakglass_model::{EventBody, TurnOutcome};
use breakglass_rig::model::Reply;

use super::agents::Setup;
pub(crate) use super::failures::*;
use super::judge::{FORBIDDEN, Judge};
use crate::support::{Scene, ana, is_alive, notices, outcome_of, pid_in, started, texts, until};

pub(crate) async fn scene(
    replies: impl IntoIterator<Item = Reply>,
    setup: impl FnOnce(&mut AgentOptions),
) -> Scene {
    Scene::with(replies, setup).await
}

pub(crate) fn finished(events: &[EventBody]) -> Vec<(&str, bool)> {
    let ends = events.iter().filter_map(|body| match body {
        EventBody::ToolFinished {
            output, is_error, ..
        } => Some((output.as_str(), *is_error)),
        _ => None,
    });
    ends.collect()
}

pub(crate) async fn a_turn_answers_with_text(setup: Setup) {
    let scene = scene([Reply::text("All is well here.")], setup).await;
    let events = scene.run_turn("How is it?").await;
    assert_eq!(texts(&events), ["All is well here."]);
    assert_eq!(outcome_of(&events), (TurnOutcome::Done, String::new()));
    let kinds: Vec<_> = events.iter().map(EventBody::kind).collect();
    assert_eq!(kinds, ["prompt", "turn_started", "text", "turn_ended"]);
}

pub(crate) async fn two_turns_share_a_session_that_remembers(setup: Setup) {
    let scene = scene(
        [Reply::text("First answer."), Reply::text("Second answer.")],
        setup,
    )
    .await;
    let first = scene.run_turn("First prompt.").await;
    let process = scene.processes();
    let second = scene.run_turn("Second prompt.").await;
    assert_eq!(texts(&second), ["Second answer."]);
    assert_eq!((process.len(), scene.processes()), (1, process));
    assert_eq!(started(&first), started(&second));
    let requests = scene.model.requests();
    assert_eq!(requests.len(), 2);
    let request = requests[1].text();
    assert!(
        request.contains("First prompt.") && request.contains("First answer."),
        "{request}"
    );
}

pub(crate) async fn the_instructions_name_the_machines_of_the_incident(setup: Setup) {
    let scene = scene([Reply::text("Yes."), Reply::text("Still.")], setup).await;
    scene.run_turn("Are you there?").await;
    scene.run_turn("Still?").await;
    for request in scene.model.requests() {
        let request = request.text();
        assert_eq!(
            request.matches("You are the breakglass agent").count(),
            1,
            "{request}"
        );
        assert!(
            request.contains("ssh pve VERB") && request.contains("ssh devvm COMMAND"),
            "{request}"
        );
        assert!(!request.contains("{guest}") && !request.contains("{host}"));
    }
}

pub(crate) async fn a_commands_text_output_and_failure_are_recorded_and_reach_the_model(
    setup: Setup,
) {
    let command = "echo out-$((6*7)); echo err >&2; exit 3";
    let scene = scene([Reply::bash(command), Reply::text("Done.")], setup).await;
    let events = scene.run_turn("Use a tool.").await;
    let kinds: Vec<_> = events.iter().map(EventBody::kind).collect();
    let expected = [
        "prompt",
        "turn_started",
        "tool_started",
        "tool_finished",
        "text",
        "turn_ended",
    ];
    assert_eq!(kinds, expected, "{events:?}");
    let EventBody::ToolStarted {
        tool,
        summary,
        input,
        ..
    } = &events[2]
    else {
        panic!("{events:?}")
    };
    assert_eq!((tool.as_str(), summary.as_str()), ("Bash", command));
    assert_eq!(input["command"], command);
    let (output, is_error) = finished(&events)[0];
    assert!(output.contains("Exit code 3") && is_error, "{output}");
    assert!(
        output.contains("out-42") && output.contains("err"),
        "{output}"
    );
    assert!(scene.model.requests()[1].text().contains("out-42"));
}

pub(crate) async fn an_allowed_command_runs(setup: Setup) {
    let judge = Judge::default();
    let command = "touch allowed && echo made";
    let replies = [Reply::bash(command), Reply::text("Done.")];
    let scene = Scene::with_gateway(replies, Arc::new(judge.clone()), setup).await;
    let events = scene.run_turn("Make a file.").await;
    assert_eq!(outcome_of(&events), (TurnOutcome::Done, String::new()));
    assert_eq!(*judge.0.lock().unwrap(), [command]);
    assert!(scene.options.work_dir.join("allowed").exists());
    assert!(finished(&events)[0].0.contains("made"));
}

pub(crate) async fn a_denied_command_does_not_run_and_the_model_learns_why(setup: Setup) {
    let replies = [
        Reply::bash("touch forbidden"),
        Reply::text("Pity."),
        Reply::text("Yes."),
    ];
    let scene = Scene::with_gateway(replies, Arc::new(Judge::default()), setup).await;
    let events = scene.run_turn("Make a file.").await;
    assert_eq!(
        outcome_of(&events),
        (TurnOutcome::Done, String::new()),
        "{events:?}"
    );
    assert_eq!(texts(&events), ["Pity."]);
    assert!(!scene.options.work_dir.join("forbidden").exists());
    let (output, is_error) = finished(&events)[0];
    assert!(output.contains(FORBIDDEN) && is_error, "{output}");
    assert_eq!(finished(&events).len(), 1);
    let request = scene.model.requests()[1].text();
    assert!(request.contains(FORBIDDEN), "{request}");
    assert_eq!(
        texts(&scene.run_turn("Are you still there?").await),
        ["Yes."]
    );
}

pub(crate) async fn a_stop_during_a_command_leaves_no_process_and_the_next_prompt_remembers(
    setup: Setup,
) {
    let scene = scene([], setup).await;
    let file = scene.file("pid");
    let command = format!("sleep 61 & echo $! > {}; sleep 60", file.display());
    scene.model.then(Reply::bash(&command));
    scene.model.then(Reply::text("I remember."));
    let mut watch = scene.watch().await;
    scene.prompt("Remember the word pumpernickel.").await;
    let tool = pid_in(&file).await;
    watch.until_kind("tool_started").await;
    assert!(scene.agents.stop(scene.incident, ana()).await);
    assert!(!is_alive(tool), "the tool survived the stop");
    assert_eq!(outcome_of(&watch.until_end().await).0, TurnOutcome::Stopped);
    let next = scene.run_turn("Which word?").await;
    assert_eq!(texts(&next), ["I remember."], "{next:?}");
    assert!(notices(&next).is_empty(), "{next:?}");
    assert!(scene.model.requests()[1].text().contains("pumpernickel"));
}

pub(crate) async fn a_stop_while_a_question_is_open_ends_the_turn_and_voids_it(setup: Setup) {
    let judge = Judge::default();
    let replies = [Reply::bash("touch undecided"), Reply::text("Here.")];
    let scene = Scene::with_gateway(replies, Arc::new(judge.clone()), setup).await;
    let mut watch = scene.watch().await;
    scene.prompt("Make a file.").await;
    until("the question is asked", || {
        !judge.0.lock().unwrap().is_empty()
    })
    .await;
    assert!(scene.agents.stop(scene.incident, ana()).await);
    let events = watch.until_end().await;
    assert_eq!(outcome_of(&events).0, TurnOutcome::Stopped);
    assert!(!scene.options.work_dir.join("undecided").exists());
    let next = scene.run_turn("And now?").await;
    assert_eq!(texts(&next), ["Here."], "{next:?}");
}
