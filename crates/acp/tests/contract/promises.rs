//! The promises about turns.

use std::sync::Arc;

use breakglass_agent::AgentOptions;
use breakglass_model::{EventBody, TurnOutcome};
use breakglass_rig::model::Reply;

use crate::agents::Dress;
pub(crate) use crate::failures::*;
use crate::judge::{FORBIDDEN, Judge};
use crate::support::{Scene, ana, ending, lives, notices, sentinel, started, texts, until};

pub(crate) async fn scene(
    replies: impl IntoIterator<Item = Reply>,
    dress: impl FnOnce(&mut AgentOptions),
) -> Scene {
    Scene::with(replies, dress).await
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

pub(crate) async fn a_turn_answers_with_text(dress: Dress) {
    let scene = scene([Reply::text("All is well here.")], dress).await;
    let events = scene.say("How is it?").await;
    assert_eq!(texts(&events), ["All is well here."]);
    assert_eq!(ending(&events), (TurnOutcome::Done, String::new()));
    let kinds: Vec<_> = events.iter().map(EventBody::kind).collect();
    assert_eq!(kinds, ["prompt", "turn_started", "text", "turn_ended"]);
}

pub(crate) async fn two_turns_are_one_session_that_remembers(dress: Dress) {
    let scene = scene(
        [Reply::text("First answer."), Reply::text("Second answer.")],
        dress,
    )
    .await;
    let first = scene.say("First prompt.").await;
    let process = scene.processes();
    let second = scene.say("Second prompt.").await;
    assert_eq!(texts(&second), ["Second answer."]);
    assert_eq!((process.len(), scene.processes()), (1, process));
    assert_eq!(started(&first), started(&second));
    let requests = scene.model.requests();
    assert_eq!(requests.len(), 2);
    let told = requests[1].text();
    assert!(
        told.contains("First prompt.") && told.contains("First answer."),
        "{told}"
    );
}

pub(crate) async fn the_instructions_name_the_incidents_own_machines(dress: Dress) {
    let scene = scene([Reply::text("Yes."), Reply::text("Still.")], dress).await;
    scene.say("Are you there?").await;
    scene.say("Still?").await;
    for request in scene.model.requests() {
        let told = request.text();
        assert_eq!(
            told.matches("You are the breakglass agent").count(),
            1,
            "{told}"
        );
        assert!(
            told.contains("ssh pve VERB") && told.contains("ssh devvm COMMAND"),
            "{told}"
        );
        assert!(!told.contains("{guest}") && !told.contains("{host}"));
    }
}

pub(crate) async fn a_commands_text_output_and_failure_are_recorded_and_reach_the_model(
    dress: Dress,
) {
    let command = "echo out-$((6*7)); echo err >&2; exit 3";
    let scene = scene([Reply::bash(command), Reply::text("Done.")], dress).await;
    let events = scene.say("Use a tool.").await;
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

pub(crate) async fn a_question_that_is_allowed_lets_the_command_run(dress: Dress) {
    let judge = Judge::default();
    let command = "touch allowed && echo made";
    let replies = [Reply::bash(command), Reply::text("Done.")];
    let scene = Scene::judged(replies, Arc::new(judge.clone()), dress).await;
    let events = scene.say("Make a file.").await;
    assert_eq!(ending(&events), (TurnOutcome::Done, String::new()));
    assert_eq!(*judge.0.lock().unwrap(), [command]);
    assert!(scene.options.work_dir.join("allowed").exists());
    assert!(finished(&events)[0].0.contains("made"));
}

pub(crate) async fn a_question_that_is_denied_keeps_the_command_from_running_and_the_model_learns_why(
    dress: Dress,
) {
    let replies = [
        Reply::bash("touch forbidden"),
        Reply::text("Pity."),
        Reply::text("Yes."),
    ];
    let scene = Scene::judged(replies, Arc::new(Judge::default()), dress).await;
    let events = scene.say("Make a file.").await;
    assert_eq!(
        ending(&events),
        (TurnOutcome::Done, String::new()),
        "{events:?}"
    );
    assert_eq!(texts(&events), ["Pity."]);
    assert!(!scene.options.work_dir.join("forbidden").exists());
    let (output, is_error) = finished(&events)[0];
    assert!(output.contains(FORBIDDEN) && is_error, "{output}");
    assert_eq!(finished(&events).len(), 1);
    let told = scene.model.requests()[1].text();
    assert!(told.contains(FORBIDDEN), "{told}");
    assert_eq!(texts(&scene.say("Are you still there?").await), ["Yes."]);
}

pub(crate) async fn a_stop_in_a_command_leaves_nothing_running_and_the_next_prompt_remembers(
    dress: Dress,
) {
    let scene = scene([], dress).await;
    let file = scene.file("pid");
    let command = format!("sleep 61 & echo $! > {}; sleep 60", file.display());
    scene.model.then(Reply::bash(&command));
    scene.model.then(Reply::text("I remember."));
    let mut watch = scene.watch().await;
    scene.prompt("Remember the word pumpernickel.").await;
    let tool = sentinel(&file).await;
    watch.until_kind("tool_started").await;
    assert!(scene.agents.stop(scene.incident, ana()).await);
    assert!(!lives(tool), "the tool outlived the stop");
    assert_eq!(ending(&watch.until_end().await).0, TurnOutcome::Stopped);
    let next = scene.say("Which word?").await;
    assert_eq!(texts(&next), ["I remember."], "{next:?}");
    assert!(notices(&next).is_empty(), "{next:?}");
    assert!(scene.model.requests()[1].text().contains("pumpernickel"));
}

pub(crate) async fn a_stop_while_a_question_is_open_ends_the_turn_and_voids_it(dress: Dress) {
    let judge = Judge::default();
    let replies = [Reply::bash("touch undecided"), Reply::text("Here.")];
    let scene = Scene::judged(replies, Arc::new(judge.clone()), dress).await;
    let mut watch = scene.watch().await;
    scene.prompt("Make a file.").await;
    until("the question is asked", || {
        !judge.0.lock().unwrap().is_empty()
    })
    .await;
    assert!(scene.agents.stop(scene.incident, ana()).await);
    let events = watch.until_end().await;
    assert_eq!(ending(&events).0, TurnOutcome::Stopped);
    assert!(!scene.options.work_dir.join("undecided").exists());
    let next = scene.say("And now?").await;
    assert_eq!(texts(&next), ["Here."], "{next:?}");
}
