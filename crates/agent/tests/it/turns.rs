//! Turns of the real claude CLI against a scripted model.

use crate::support::{Scene, Seen, ana, names, outcome_of, started, texts};
use breakglass_agent::PromptError;
use breakglass_agent::PromptTarget;
use breakglass_model::{EventBody, Frame, TurnOutcome};
use breakglass_rig::model::{Part, Reply};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn two_turns_share_a_session_and_a_process() {
    let scene = Scene::start([Reply::text("First answer."), Reply::text("Second answer.")]).await;
    let first = scene.run_turn("First prompt.").await;
    assert_eq!(texts(&first), ["First answer."]);
    assert_eq!(outcome_of(&first).0, TurnOutcome::Done);
    let process = scene.processes();
    let second = scene.run_turn("Second prompt.").await;
    assert_eq!(texts(&second), ["Second answer."]);
    assert_eq!(process.len(), 1);
    assert_eq!(scene.processes(), process);
    assert_eq!(started(&first), started(&second));
    let requests = scene.model.requests();
    assert!(requests[1].text().contains("First answer.") && requests.len() == 2);
}

#[tokio::test]
async fn the_model_gets_the_instructions() {
    let scene = Scene::start([Reply::text("Yes.")]).await;
    scene.run_turn("Are you there?").await;
    let request = scene.model.requests()[0].text();
    assert!(request.contains("ssh pve VERB") && request.contains("ssh devvm COMMAND"));
    assert!(!request.contains("{guest}") && !request.contains("{host}"));
    assert!(!request.contains("# The library"), "{request}");
}

#[tokio::test]
async fn the_model_learns_of_the_library_and_can_read_its_files() {
    let library = tempfile::tempdir().unwrap();
    let runbook = library.path().join("boot.md");
    std::fs::write(&runbook, "Boots from the second disk.\n").unwrap();
    let read = Reply::tool("Read", json!({ "file_path": runbook }));
    let replies = [read, Reply::text("The second disk.")];
    let at = library.path().to_owned();
    let scene = Scene::with(replies, |options| options.set_library(at)).await;
    scene.run_turn("From what does it boot?").await;
    let requests = scene.model.requests();
    let request = requests[0].text();
    assert!(
        request.contains(&format!("The folder `{}`", library.path().display())),
        "{request}"
    );
    assert!(!request.contains("{library}"), "{request}");
    assert!(requests[1].text().contains("Boots from the second disk."));
}

#[tokio::test]
async fn the_agent_of_an_incident_learns_only_the_names_of_its_target() {
    let scene = Scene::with([Reply::text("One."), Reply::text("Two.")], |options| {
        options.targets.push(names("patient", "ward"));
    })
    .await;
    scene.run_turn("First.").await;
    let other = scene.open("patient").await;
    let mut watch = scene.watch_in(other).await;
    let prompt = scene
        .agents
        .prompt(other, ana(), "Second.".into(), PromptTarget::default());
    prompt.await.unwrap();
    watch.until_end().await;
    let texts: Vec<String> = scene.model.requests().iter().map(|r| r.text()).collect();
    assert!(texts[0].contains("ssh devvm COMMAND") && !texts[0].contains("patient"));
    assert!(texts[1].contains("ssh ward VERB") && !texts[1].contains("devvm"));
}

#[tokio::test]
async fn a_prompt_about_an_unconfigured_target_is_refused() {
    let scene = Scene::start([]).await;
    let other = scene.open("forgotten").await;
    let prompt = scene
        .agents
        .prompt(other, ana(), "Hello?".into(), PromptTarget::default());
    let refused = prompt.await.unwrap_err();
    assert!(
        matches!(refused, PromptError::UnknownTarget(_)),
        "{refused}"
    );
}

#[tokio::test]
async fn the_model_has_only_the_allowed_tools() {
    let scene = Scene::start([Reply::text("Yes.")]).await;
    scene.run_turn("Are you there?").await;
    let request = &scene.model.requests()[0];
    for tool in request.body["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        assert!(["Bash", "Read", "Grep", "Glob"].contains(&name), "{name}");
    }
}

#[tokio::test]
async fn text_arrives_before_its_block_is_complete() {
    let go_on = CancellationToken::new();
    let reply = Reply::held_text("one two three four five six", go_on.clone());
    let scene = Scene::start([reply]).await;
    let mut watch = scene.watch().await;
    scene.prompt("Count.").await;
    let is_delta = |seen: &Seen| matches!(seen, Seen::Frame(Frame::TextDelta { .. }));
    watch.until(is_delta).await;
    // The model has sent no more text yet.
    go_on.cancel();
    let rest = watch
        .until(|seen| matches!(seen, Seen::Event(EventBody::Text { .. })))
        .await;
    assert!(rest.iter().filter(|seen| is_delta(seen)).count() >= 3);
    watch.until_end().await;
}

#[tokio::test]
async fn the_command_and_output_of_a_tool_are_recorded_and_reach_the_model() {
    let replies = [
        Reply::bash("echo out-$((6*7)); echo err >&2"),
        Reply::text("Done."),
    ];
    let scene = Scene::start(replies).await;
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
    let events = scene.run_turn("Write a file.").await;
    assert_eq!(outcome_of(&events).0, TurnOutcome::Done);
    assert!(file.exists());
}

#[tokio::test]
async fn parallel_tools_are_recorded_and_answered() {
    let call = |command: &str| Part::Tool {
        name: "Bash".to_owned(),
        input: json!({"command": command, "description": "one of two"}),
    };
    let both = Reply::Parts(vec![call("echo one"), call("echo two")]);
    let scene = Scene::start([both, Reply::text("Done.")]).await;
    let events = scene.run_turn("Use two tools.").await;
    let count = |kind| events.iter().filter(|body| body.kind() == kind).count();
    assert_eq!((count("tool_started"), count("tool_finished")), (2, 2));
}

#[tokio::test]
async fn a_forbidden_tool_does_nothing() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("written");
    let input = json!({"file_path": file.to_str().unwrap(), "content": "x"});
    let scene = Scene::start([Reply::tool("Write", input), Reply::text("Pity.")]).await;
    let events = scene.run_turn("Write a file.").await;
    assert!(!file.exists());
    let refused = |body: &EventBody| matches!(body, EventBody::ToolFinished { is_error: true, .. });
    assert!(events.iter().any(refused));
    assert_eq!(outcome_of(&events).0, TurnOutcome::Done);
}

#[tokio::test]
async fn a_prompt_can_name_its_model_and_keeps_the_session() {
    let scene = Scene::start([
        Reply::text("One."),
        Reply::text("Two."),
        Reply::text("Three."),
    ])
    .await;
    let first = scene.run_turn("With the usual one.").await;
    let mut watch = scene.watch().await;
    let prompt = "With another.".to_owned();
    scene
        .agents
        .prompt(
            scene.incident,
            ana(),
            prompt,
            PromptTarget {
                model: Some("opus".to_owned()),
                agent: None,
            },
        )
        .await
        .unwrap();
    let second = watch.until_end().await;
    let third = scene.run_turn("With the usual one.").await;
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
        .prompt(
            scene.incident,
            ana(),
            "More.".to_owned(),
            PromptTarget::default(),
        )
        .await;
    assert!(
        matches!(second, Err(PromptError::TurnRunning(1))),
        "{second:?}"
    );
    assert!(scene.agents.stop(scene.incident, ana()).await);
    watch.until_end().await;
}
