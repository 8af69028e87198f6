//! How turns and processes are ended, and that nothing is left of them.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use breakglass_agent::{AgentOptions, Agents, Asked, PromptError};
use breakglass_log::{Log, Options};
use breakglass_model::TurnOutcome;
use breakglass_model::gateway::NoGateway;
use breakglass_rig::model::Reply;
use rustix::process::Signal;
use support::{Scene, ana, ending, lives, marked, names, send_signal, sentinel, texts, until};

/// A scene in which a tool runs that writes its process id to a file, and that id.
async fn with_running_tool(
    change: impl FnOnce(&mut breakglass_agent::AgentOptions),
) -> (Scene, i32) {
    let scene = Scene::with([], change).await;
    let file = scene.file("pid");
    scene.model.then(Reply::bash(&format!(
        "sleep 61 & echo $! > {}; sleep 60",
        file.display()
    )));
    scene.model.then(Reply::text("Still here."));
    scene.prompt("Work.").await;
    let tool = sentinel(&file).await;
    (scene, tool)
}

#[tokio::test]
async fn a_stop_in_mid_tool_leaves_no_process_and_keeps_the_cli_warm() {
    let (scene, tool) = with_running_tool(|_| {}).await;
    let mut watch = scene.watch().await;
    let cli = scene.processes();
    assert!(scene.agents.stop(scene.incident, ana()).await);
    assert!(!lives(tool));
    assert_eq!(ending(&watch.until_end().await).0, TurnOutcome::Stopped);
    assert_eq!(texts(&scene.say("And now?").await), ["Still here."]);
    assert_eq!(scene.processes(), cli);
}

#[tokio::test]
async fn a_stop_kills_a_cli_that_does_not_obey_and_its_tools() {
    let (scene, tool) = with_running_tool(|_| {}).await;
    let mut watch = scene.watch().await;
    let cli = scene.processes()[0];
    send_signal(cli, Signal::STOP);
    assert!(scene.agents.stop(scene.incident, ana()).await);
    assert!(!lives(tool) && !lives(cli));
    let (outcome, reason) = ending(&watch.until_end().await);
    assert_eq!(outcome, TurnOutcome::Stopped);
    assert!(reason.contains("killed"), "{reason}");
    assert_eq!(texts(&scene.say("And now?").await), ["Still here."]);
}

#[tokio::test]
async fn a_stop_without_a_turn_stops_nothing() {
    let scene = Scene::start([Reply::text("Yes.")]).await;
    assert!(!scene.agents.stop(scene.incident, ana()).await);
    scene.say("Are you there?").await;
    assert!(!scene.agents.stop(scene.incident, ana()).await);
}

#[tokio::test]
async fn a_turn_past_its_time_limit_is_ended_with_its_tools() {
    let scene = Scene::with([], |options| options.turn_limit = Duration::from_secs(10)).await;
    let file = scene.file("pid");
    scene.model.then(Reply::bash(&format!(
        "sleep 61 & echo $! > {}; sleep 60",
        file.display()
    )));
    // From before the turn on: it may be over as soon as the tool was seen.
    let mut watch = scene.watch().await;
    scene.prompt("Work.").await;
    let tool = sentinel(&file).await;
    let (outcome, reason) = ending(&watch.until_end().await);
    assert_eq!(outcome, TurnOutcome::TimedOut);
    assert!(reason.contains("longer than 10 s"), "{reason}");
    let _ = scene.agents.stop(scene.incident, ana()).await;
    assert!(!lives(tool));
}

#[tokio::test]
async fn a_shutdown_in_mid_turn_records_the_end_and_leaves_no_process() {
    let (scene, tool) = with_running_tool(|_| {}).await;
    let mut watch = scene.watch().await;
    scene.agents.shutdown().await;
    let (outcome, reason) = ending(&watch.until_end().await);
    assert_eq!(outcome, TurnOutcome::Interrupted);
    assert!(reason.contains("shut down"), "{reason}");
    assert!(!lives(tool));
    assert_eq!(marked(&scene.options.home), Vec::<i32>::new());
    let late = scene
        .agents
        .prompt(scene.incident, ana(), "Hello?".to_owned(), Asked::default())
        .await;
    assert!(matches!(late, Err(PromptError::Unavailable(_))));
}

#[tokio::test]
async fn the_least_recently_used_idle_process_makes_room_and_a_busy_one_does_not() {
    let scene = Scene::with([Reply::text("One."), Reply::text("Two.")], |options| {
        options.max_processes = 1;
        options.targets.push(names("other", "host"));
    })
    .await;
    scene.say("First incident.").await;
    let first = scene.processes();
    let other = scene.open("other").await;
    let file = scene.file("pid");
    scene
        .agents
        .prompt(other, ana(), "Second.".to_owned(), Asked::default())
        .await
        .unwrap();
    assert!(!lives(first[0]) && scene.processes().len() == 1);
    scene.agents.stop(other, ana()).await;
    scene.model.then(Reply::bash(&format!(
        "echo $$ > {}; sleep 60",
        file.display()
    )));
    scene.model.then(Reply::bash(&format!(
        "echo $$ > {}; sleep 60",
        file.display()
    )));
    scene
        .agents
        .prompt(other, ana(), "Third.".to_owned(), Asked::default())
        .await
        .unwrap();
    let busy = scene
        .agents
        .prompt(
            scene.incident,
            ana(),
            "Fourth.".to_owned(),
            Asked::default(),
        )
        .await;
    assert!(matches!(busy, Err(PromptError::AllBusy(1))), "{busy:?}");
    scene.agents.stop(other, ana()).await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_cli_that_never_gets_ready() {
    let home = tempfile::tempdir().unwrap();
    let (command, pid) = (home.path().join("claude"), home.path().join("pid"));
    let script = format!("#!/bin/sh\necho $$ > {}\nexec sleep 600\n", pid.display());
    std::fs::write(&command, script).unwrap();
    std::fs::set_permissions(&command, PermissionsExt::from_mode(0o700)).unwrap();
    let scene = Scene::with([], |options| options.command = command).await;
    scene.agents.warm(scene.incident);
    let cli = sentinel(&pid).await;
    let begun = Instant::now();
    scene.agents.shutdown().await;
    // It would be waited for for half a minute.
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert!(!lives(cli));
}

#[tokio::test]
async fn a_warmed_process_is_ended_when_it_was_idle_for_too_long() {
    let scene = Scene::with([], |options| options.idle_limit = Duration::from_secs(1)).await;
    scene.agents.warm(scene.incident);
    for wanted in [1, 0] {
        let reached = || scene.processes().len() == wanted;
        until("the process comes, and goes", reached).await;
    }
}

#[tokio::test]
async fn the_clis_environment_holds_nothing_that_is_not_on_the_list() {
    let scene = Scene::start([Reply::text("Yes.")]).await;
    scene.say("Are you there?").await;
    let environment = std::fs::read(format!("/proc/{}/environ", scene.processes()[0])).unwrap();
    let names: BTreeSet<String> = String::from_utf8(environment)
        .unwrap()
        .split('\0')
        .filter_map(|entry| Some(entry.split_once('=')?.0.to_owned()))
        .collect();
    let listed: BTreeSet<String> = [
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "BASH_DEFAULT_TIMEOUT_MS",
        "BASH_MAX_TIMEOUT_MS",
        "BREAKGLASS_CELL",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
        "CLAUDE_CODE_DISABLE_BUNDLED_SKILLS",
        "CLAUDE_CODE_DISABLE_CRON",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "CLAUDE_CODE_MAX_RETRIES",
        "CLAUDE_CODE_TMPDIR",
        "DISABLE_AUTOUPDATER",
        "DISABLE_ERROR_REPORTING",
        "DISABLE_INSTALLATION_CHECKS",
        "DISABLE_TELEMETRY",
        "HOME",
        "PATH",
        "TMPDIR",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(names, listed);
}

#[tokio::test]
async fn a_new_server_ends_what_a_killed_one_has_left_but_nothing_of_a_living_one() {
    let home = tempfile::tempdir().unwrap();
    let options = AgentOptions::new("no-such-claude", home.path());
    let journal = Log::open(Options::in_memory());
    let living = Agents::new(options.clone(), journal.clone(), Arc::new(NoGateway));
    living.health().await;
    let mark = format!("{}#left-over", home.path().display());
    let mut left = Command::new("sleep")
        .arg("60")
        .env("BREAKGLASS_CELL", mark)
        .spawn()
        .unwrap();
    // A process has its environment, and has let go of the cell's lock, a moment after its start.
    until("the left-over runs", || !marked(home.path()).is_empty()).await;
    // Each asks the launcher thread for more, so that its sweep is over when it has the answer.
    Agents::new(options.clone(), journal.clone(), Arc::new(NoGateway))
        .health()
        .await;
    assert!(left.try_wait().unwrap().is_none());
    drop(living);
    Agents::new(options, journal, Arc::new(NoGateway))
        .health()
        .await;
    assert!(!left.wait().unwrap().success());
}
