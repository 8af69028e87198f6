//! What the real claude CLI does in a turn besides answering, and how that is recorded.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::{Scene, notices, outcome_of, texts};
use breakglass_agent::AgentOptions;
use breakglass_model::{EventBody, TurnOutcome};
use breakglass_rig::claude::claude;
use breakglass_rig::model::{Part, Reply};
use serde_json::json;

/// The CLI with background tasks, which the cell normally switches off.
fn with_background_tasks(dir: &Path) -> impl FnOnce(&mut AgentOptions) {
    let script = dir.join("claude");
    let text = format!(
        "#!/bin/sh\nunset CLAUDE_CODE_DISABLE_BACKGROUND_TASKS\nexec '{}' \"$@\"\n",
        claude().display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    move |options| options.command = script
}

fn in_background(command: &str) -> Reply {
    let input = json!({"command": command, "description": "d", "run_in_background": true});
    Reply::tool("Bash", input)
}

#[tokio::test]
async fn a_background_task_that_ends_during_the_next_turn_does_not_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::with([], with_background_tasks(dir.path())).await;
    let go_on = scene.file("go-on");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", go_on.display());
    for reply in [in_background(&wait), Reply::text("Started.")] {
        scene.model.then(reply);
    }
    assert_eq!(texts(&scene.run_turn("Start it.").await), ["Started."]);
    // The next turn's tool ends the task: the CLI begins its own turn to report that.
    let release = format!("touch {} && sleep 1", go_on.display());
    for reply in [
        Reply::bash(&release),
        Reply::text("One."),
        Reply::text("Two."),
        Reply::text("Three."),
    ] {
        scene.model.then(reply);
    }
    let second = scene.run_turn("End it.").await;
    assert_eq!(outcome_of(&second), (TurnOutcome::Done, String::new()));
    assert!(texts(&second).contains(&"One."), "{second:?}");
    let third = scene.run_turn("And now?").await;
    assert_eq!(outcome_of(&third), (TurnOutcome::Done, String::new()));
    let last = texts(&third).last().copied();
    assert!(matches!(last, Some("Two." | "Three.")), "{third:?}");
}

#[tokio::test]
async fn a_background_task_that_ends_between_turns_does_not_affect_the_next_answer() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::with([], with_background_tasks(dir.path())).await;
    let go_on = scene.file("go-on");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", go_on.display());
    for reply in [
        in_background(&wait),
        Reply::text("Started."),
        // The CLI's own turn uses a tool, which no turn of the operator can allow.
        Reply::bash("mkdir without-a-turn"),
        Reply::text("Denied."),
        Reply::text("Mine."),
    ] {
        scene.model.then(reply);
    }
    scene.run_turn("Start it.").await;
    std::fs::write(&go_on, "").unwrap();
    scene.model.wait_for_requests(4).await;
    let next = scene.run_turn("And now?").await;
    assert_eq!(texts(&next).last(), Some(&"Mine."));
    assert_eq!(outcome_of(&next).0, TurnOutcome::Done);
    let request = scene.model.requests()[3].text();
    assert!(request.contains("acts in a turn only"), "{request}");
    assert!(!scene.options.work_dir.join("without-a-turn").exists());
}

#[tokio::test]
async fn a_turn_without_an_answer_has_a_reason() {
    let nothing = || Reply::Parts(Vec::new());
    // The CLI retries once by itself.
    let scene = Scene::start([Reply::bash("true"), nothing(), nothing()]).await;
    let (outcome, reason) = outcome_of(&scene.run_turn("Look.").await);
    assert_eq!(outcome, TurnOutcome::Done);
    assert!(reason.contains("ended without an answer"), "{reason}");
}

#[tokio::test]
async fn a_turn_with_too_many_steps_names_its_limit() {
    let replies = [Reply::bash("echo 1"), Reply::bash("echo 2")];
    let scene = Scene::with(replies, |options| {
        options.args = vec!["--max-turns".to_owned(), "1".to_owned()];
    })
    .await;
    let (outcome, reason) = outcome_of(&scene.run_turn("Look.").await);
    assert_eq!(outcome, TurnOutcome::Failed);
    assert!(reason.contains("error_max_turns"), "{reason}");
    assert!(reason.contains("maximum number of turns (1)"), "{reason}");
}

#[tokio::test]
async fn text_of_the_cli_is_a_notice() {
    let scene = Scene::start([]).await;
    let events = scene.run_turn("/no-such-command").await;
    assert_eq!(notices(&events)[0].0, "agent_cli_says");
    assert!(notices(&events)[0].1.contains("/no-such-command"));
}

#[tokio::test]
async fn a_compaction_is_reported_and_its_silence_does_not_end_the_turn() {
    let scene = Scene::with([], |options| options.silence_limit = Duration::from_secs(4)).await;
    for word in ["One.", "Two.", "Three."] {
        scene.model.then(Reply::text(word));
        scene.run_turn("Say something.").await;
    }
    // Twice the silence limit.
    let summary = "<summary>What was said.</summary>";
    scene
        .model
        .then(Reply::late(Duration::from_secs(8), Reply::text(summary)));
    let events = scene.run_turn("/compact").await;
    let codes: Vec<&str> = notices(&events).iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, ["agent_compacting"]);
    assert_eq!(outcome_of(&events), (TurnOutcome::Done, String::new()));
}

#[tokio::test]
async fn a_delay_that_the_api_requests_is_reported_and_is_not_silence() {
    let replies = [Reply::RetryAfter(529, 12), Reply::text("Here I am.")];
    let scene = Scene::with(replies, |options| {
        options.silence_limit = Duration::from_secs(4);
    })
    .await;
    let events = scene.run_turn("Hello?").await;
    let notices = notices(&events);
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].1.contains("attempt 1 of 1, the next in 12 s."),
        "{notices:?}"
    );
    assert_eq!(texts(&events), ["Here I am."]);
}

#[tokio::test]
async fn parallel_calls_finish_with_their_own_results() {
    let bash = |command: &str| Part::Tool {
        name: "Bash".to_owned(),
        input: json!({"command": command, "description": "d"}),
    };
    // The CLI runs both in parallel, and the second ends first.
    let parts = vec![bash("sleep 1; echo slow"), bash("echo quick")];
    let scene = Scene::start([Reply::Parts(parts), Reply::text("Done.")]).await;
    let events = scene.run_turn("Both.").await;
    let ends = events.iter().filter_map(|body| match body {
        EventBody::ToolFinished {
            tool_call, output, ..
        } => Some((tool_call.as_str(), output.as_str())),
        _ => None,
    });
    let mut ends: Vec<_> = ends.collect();
    ends.sort_unstable();
    assert_eq!(ends, [("toolu_1_0", "slow"), ("toolu_1_1", "quick")]);
}
