//! Turns of the real claude CLI against a scripted model.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use breakglass_agent::Asked;
use breakglass_agent::PromptError;
use breakglass_model::{EventBody, Frame, TurnOutcome};
use breakglass_rig::model::{Part, Reply};
use serde_json::json;
use support::{Scene, Seen, ana, ending, names, started, texts};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn two_turns_are_one_session_on_one_warm_process() {
    let scene = Scene::start([Reply::text("First answer."), Reply::text("Second answer.")]).await;
    let first = scene.say("First prompt.").await;
    assert_eq!(texts(&first), ["First answer."]);
    assert_eq!(ending(&first).0, TurnOutcome::Done);
    let process = scene.processes();
    let second = scene.say("Second prompt.").await;
    assert_eq!(texts(&second), ["Second answer."]);
    assert_eq!(process.len(), 1);
    assert_eq!(scene.processes(), process);
    assert_eq!(started(&first), started(&second));
    let requests = scene.model.requests();
    assert!(requests[1].text().contains("First answer.") && requests.len() == 2);
}

#[tokio::test]
async fn the_agent_file_is_what_the_model_is_told() {
    let scene = Scene::start([Reply::text("Yes.")]).await;
    scene.say("Are you there?").await;
    let told = scene.model.requests()[0].text();
    assert!(told.contains("ssh pve VERB") && told.contains("ssh devvm COMMAND"));
    assert!(!told.contains("{guest}") && !told.contains("{host}"));
    assert!(!told.contains("# The library"), "{told}");
}

#[tokio::test]
async fn the_library_is_named_to_the_model_and_its_files_are_read() {
    let library = tempfile::tempdir().unwrap();
    let runbook = library.path().join("boot.md");
    std::fs::write(&runbook, "Boots from the second disk.\n").unwrap();
    let read = Reply::tool("Read", json!({ "file_path": runbook }));
    let replies = [read, Reply::text("The second disk.")];
    let at = library.path().to_owned();
    let scene = Scene::with(replies, |options| options.lend(at)).await;
    scene.say("From what does it boot?").await;
    let requests = scene.model.requests();
    let told = requests[0].text();
    assert!(
        told.contains(&format!("The folder `{}`", library.path().display())),
        "{told}"
    );
    assert!(!told.contains("{library}"), "{told}");
    assert!(requests[1].text().contains("Boots from the second disk."));
}

#[tokio::test]
async fn each_incidents_agent_is_told_the_names_of_its_own_target_only() {
    let scene = Scene::with([Reply::text("One."), Reply::text("Two.")], |options| {
        options.targets.push(names("patient", "ward"));
    })
    .await;
    scene.say("First.").await;
    let other = scene.open("patient").await;
    let mut watch = scene.watch_in(other).await;
    let prompt = scene
        .agents
        .prompt(other, ana(), "Second.".into(), Asked::default());
    prompt.await.unwrap();
    watch.until_end().await;
    let told: Vec<String> = scene.model.requests().iter().map(|r| r.text()).collect();
    assert!(told[0].contains("ssh devvm COMMAND") && !told[0].contains("patient"));
    assert!(told[1].contains("ssh ward VERB") && !told[1].contains("devvm"));
}

#[tokio::test]
async fn an_incident_of_a_target_that_is_gone_from_the_configuration_has_no_agent() {
    let scene = Scene::start([]).await;
    let other = scene.open("forgotten").await;
    let prompt = scene
        .agents
        .prompt(other, ana(), "Hello?".into(), Asked::default());
    let refused = prompt.await.unwrap_err();
    assert!(
        matches!(refused, PromptError::UnknownTarget(_)),
        "{refused}"
    );
}

#[tokio::test]
async fn the_model_is_offered_no_tool_but_the_agents_own() {
    let scene = Scene::start([Reply::text("Yes.")]).await;
    scene.say("Are you there?").await;
    let request = &scene.model.requests()[0];
    for tool in request.body["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        assert!(["Bash", "Read", "Grep", "Glob"].contains(&name), "{name}");
    }
}

#[tokio::test]
async fn words_arrive_while_the_block_is_still_being_typed() {
    let go_on = CancellationToken::new();
    let reply = Reply::held_text("one two three four five six", go_on.clone());
    let scene = Scene::start([reply]).await;
    let mut watch = scene.watch().await;
    scene.prompt("Count.").await;
    let is_delta = |seen: &Seen| matches!(seen, Seen::Frame(Frame::TextDelta { .. }));
    watch.until(is_delta).await;
    // The model has not said more yet.
    go_on.cancel();
    let rest = watch
        .until(|seen| matches!(seen, Seen::Event(EventBody::Text { .. })))
        .await;
    assert!(rest.iter().filter(|seen| is_delta(seen)).count() >= 3);
    watch.until_end().await;
}

#[tokio::test]
async fn a_tools_command_and_output_are_recorded_and_reach_the_model() {
    let replies = [
        Reply::bash("echo out-$((6*7)); echo err >&2"),
        Reply::text("Done."),
    ];
    let scene = Scene::start(replies).await;
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
    assert_eq!(kinds, expected);
    let EventBody::ToolStarted { tool, summary, .. } = &events[2] else {
        panic!()
    };
    assert_eq!(
        (tool.as_str(), summary.as_str()),
        ("Bash", "echo out-$((6*7)); echo err >&2")
    );
    let EventBody::ToolFinished {
        output, is_error, ..
    } = &events[3]
    else {
        panic!()
    };
    assert!(output.contains("out-42") && output.contains("err") && !is_error);
    assert!(scene.model.requests()[1].text().contains("out-42"));
}

#[tokio::test]
async fn a_command_that_the_cli_asks_about_is_allowed_and_runs() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("written");
    let command = format!("touch {} && echo written", file.display());
    let scene = Scene::start([Reply::bash(&command), Reply::text("Done.")]).await;
    let events = scene.say("Write a file.").await;
    assert_eq!(ending(&events).0, TurnOutcome::Done);
    assert!(file.exists());
}

#[tokio::test]
async fn several_tools_at_once_are_each_recorded_and_answered() {
    let call = |command: &str| Part::Tool {
        name: "Bash".to_owned(),
        input: json!({"command": command, "description": "one of two"}),
    };
    let both = Reply::Parts(vec![call("echo one"), call("echo two")]);
    let scene = Scene::start([both, Reply::text("Done.")]).await;
    let events = scene.say("Use two tools.").await;
    let count = |kind| events.iter().filter(|body| body.kind() == kind).count();
    assert_eq!((count("tool_started"), count("tool_finished")), (2, 2));
}

#[tokio::test]
async fn a_tool_of_another_kind_does_nothing() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("written");
    let input = json!({"file_path": file.to_str().unwrap(), "content": "x"});
    let scene = Scene::start([Reply::tool("Write", input), Reply::text("Pity.")]).await;
    let events = scene.say("Write a file.").await;
    assert!(!file.exists());
    let refused = |body: &EventBody| matches!(body, EventBody::ToolFinished { is_error: true, .. });
    assert!(events.iter().any(refused));
    assert_eq!(ending(&events).0, TurnOutcome::Done);
}

#[tokio::test]
async fn each_prompt_may_name_its_model_and_keeps_the_session() {
    let scene = Scene::start([
        Reply::text("One."),
        Reply::text("Two."),
        Reply::text("Three."),
    ])
    .await;
    let first = scene.say("With the usual one.").await;
    let mut watch = scene.watch().await;
    let prompt = "With another.".to_owned();
    scene
        .agents
        .prompt(
            scene.incident,
            ana(),
            prompt,
            Asked {
                model: Some("opus".to_owned()),
                agent: None,
            },
        )
        .await
        .unwrap();
    let second = watch.until_end().await;
    let third = scene.say("With the usual one.").await;
    assert_eq!(started(&first).0, started(&second).0);
    assert_eq!((started(&second).1, started(&third).1), ("opus", "sonnet"));
    let requests = scene.model.requests();
    let models: Vec<&str> = requests.iter().map(|request| request.model()).collect();
    assert!(models[1].contains("opus"), "{models:?}");
    assert!(
        models[0] == models[2] && models[0].contains("sonnet"),
        "{models:?}"
    );
}

#[tokio::test]
async fn a_second_prompt_while_a_turn_runs_is_refused() {
    let scene = Scene::start([Reply::bash("sleep 30")]).await;
    let mut watch = scene.watch().await;
    scene.prompt("Work.").await;
    watch.until_kind("tool_started").await;
    let second = scene
        .agents
        .prompt(scene.incident, ana(), "More.".to_owned(), Asked::default())
        .await;
    assert!(
        matches!(second, Err(PromptError::TurnRunning(1))),
        "{second:?}"
    );
    assert!(scene.agents.stop(scene.incident, ana()).await);
    watch.until_end().await;
}
