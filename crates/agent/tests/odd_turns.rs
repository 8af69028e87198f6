//! What the real claude CLI does in a turn besides answering, and how it is told.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use breakglass_agent::AgentOptions;
use breakglass_model::{EventBody, TurnOutcome};
use breakglass_rig::claude::claude;
use breakglass_rig::model::{Part, Reply};
use serde_json::json;
use support::{Scene, ending, notices, texts};

/// The CLI with its background tasks, which the cell switches off.
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
async fn a_background_task_that_ends_while_the_next_turn_runs_ends_no_turn() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::with([], with_background_tasks(dir.path())).await;
    let go_on = scene.file("go-on");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", go_on.display());
    for reply in [in_background(&wait), Reply::text("Started.")] {
        scene.model.then(reply);
    }
    assert_eq!(texts(&scene.say("Start it.").await), ["Started."]);
    // The next turn's tool ends the task: the CLI begins a turn of its own with the news.
    let release = format!("touch {} && sleep 1", go_on.display());
    for reply in [
        Reply::bash(&release),
        Reply::text("One."),
        Reply::text("Two."),
        Reply::text("Three."),
    ] {
        scene.model.then(reply);
    }
    let second = scene.say("End it.").await;
    assert_eq!(ending(&second), (TurnOutcome::Done, String::new()));
    assert!(texts(&second).contains(&"One."), "{second:?}");
    let third = scene.say("And now?").await;
    assert_eq!(ending(&third), (TurnOutcome::Done, String::new()));
    let last = texts(&third).last().copied();
    assert!(matches!(last, Some("Two." | "Three.")), "{third:?}");
}

#[tokio::test]
async fn a_background_task_that_ends_between_turns_leaves_the_next_turn_its_own_answer() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::with([], with_background_tasks(dir.path())).await;
    let go_on = scene.file("go-on");
    let wait = format!("until [ -e {} ]; do sleep 0.05; done", go_on.display());
    for reply in [
        in_background(&wait),
        Reply::text("Started."),
        // The CLI's own turn wants to act, and there is nobody who could allow it.
        Reply::bash("mkdir in-nobodys-turn"),
        Reply::text("Denied."),
        Reply::text("Mine."),
    ] {
        scene.model.then(reply);
    }
    scene.say("Start it.").await;
    std::fs::write(&go_on, "").unwrap();
    scene.model.wait_for_requests(4).await;
    let next = scene.say("And now?").await;
    assert_eq!(texts(&next).last(), Some(&"Mine."));
    assert_eq!(ending(&next).0, TurnOutcome::Done);
    let told = scene.model.requests()[3].text();
    assert!(told.contains("acts in a turn only"), "{told}");
    assert!(!scene.options.work_dir.join("in-nobodys-turn").exists());
}

#[tokio::test]
async fn a_turn_that_ends_without_a_word_says_so() {
    let nothing = || Reply::Parts(Vec::new());
    // The CLI asks once more by itself.
    let scene = Scene::start([Reply::bash("true"), nothing(), nothing()]).await;
    let (outcome, reason) = ending(&scene.say("Look.").await);
    assert_eq!(outcome, TurnOutcome::Done);
    assert!(reason.contains("ended without an answer"), "{reason}");
}

#[tokio::test]
async fn a_turn_of_too_many_steps_says_which_limit_it_met() {
    let replies = [Reply::bash("echo 1"), Reply::bash("echo 2")];
    let scene = Scene::with(replies, |options| {
        options.args = vec!["--max-turns".to_owned(), "1".to_owned()];
    })
    .await;
    let (outcome, reason) = ending(&scene.say("Look.").await);
    assert_eq!(outcome, TurnOutcome::Failed);
    assert!(reason.contains("error_max_turns"), "{reason}");
    assert!(reason.contains("maximum number of turns (1)"), "{reason}");
}

#[tokio::test]
async fn what_the_cli_says_in_the_models_place_is_shown() {
    let scene = Scene::start([]).await;
    let events = scene.say("/no-such-command").await;
    assert_eq!(notices(&events)[0].0, "agent_cli_says");
    assert!(notices(&events)[0].1.contains("/no-such-command"));
}

#[tokio::test]
async fn a_compaction_is_told_and_its_silence_does_not_end_the_turn() {
    let scene = Scene::with([], |options| options.silence_limit = Duration::from_secs(4)).await;
    for word in ["One.", "Two.", "Three."] {
        scene.model.then(Reply::text(word));
        scene.say("Say something.").await;
    }
    // Twice as long as the CLI may be silent.
    let summary = "<summary>What was said.</summary>";
    scene
        .model
        .then(Reply::late(Duration::from_secs(8), Reply::text(summary)));
    let events = scene.say("/compact").await;
    let codes: Vec<&str> = notices(&events).iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, ["agent_compacting"]);
    assert_eq!(ending(&events), (TurnOutcome::Done, String::new()));
}

#[tokio::test]
async fn a_wait_that_the_api_asks_for_is_told_and_is_no_silence() {
    let replies = [Reply::RetryAfter(529, 12), Reply::text("Here I am.")];
    let scene = Scene::with(replies, |options| {
        options.silence_limit = Duration::from_secs(4);
    })
    .await;
    let events = scene.say("Hello?").await;
    let told = notices(&events);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].1.contains("try 1 of 1, the next in 12 s."),
        "{told:?}"
    );
    assert_eq!(texts(&events), ["Here I am."]);
}

#[tokio::test]
async fn calls_made_at_once_are_each_finished_by_their_own_result() {
    let bash = |command: &str| Part::Tool {
        name: "Bash".to_owned(),
        input: json!({"command": command, "description": "d"}),
    };
    // The CLI runs both at once, and the second ends first.
    let parts = vec![bash("sleep 1; echo slow"), bash("echo quick")];
    let scene = Scene::start([Reply::Parts(parts), Reply::text("Done.")]).await;
    let events = scene.say("Both.").await;
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
