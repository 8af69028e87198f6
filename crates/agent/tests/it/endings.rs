//! How turns and processes end, and that they leave nothing running.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{
    Scene, ana, is_alive, marked, names, outcome_of, pid_in, send_signal, texts, until,
};
use breakglass_agent::{AgentOptions, Agents, PromptError, PromptTarget};
use breakglass_log::{Log, Options};
use breakglass_model::TurnOutcome;
use breakglass_model::gateway::NoGateway;
use breakglass_rig::model::Reply;
use rustix::process::Signal;

/// A scene with a running tool, and the tool's process id.
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
    let tool = pid_in(&file).await;
    (scene, tool)
}

#[tokio::test]
async fn a_stop_during_a_tool_leaves_no_process_and_keeps_the_cli() {
    let (scene, tool) = with_running_tool(|_| {}).await;
    let mut watch = scene.watch().await;
    let cli = scene.processes();
    assert!(scene.agents.stop(scene.incident, ana()).await);
    assert!(!is_alive(tool));
    assert_eq!(outcome_of(&watch.until_end().await).0, TurnOutcome::Stopped);
    assert_eq!(texts(&scene.run_turn("And now?").await), ["Still here."]);
    assert_eq!(scene.processes(), cli);
}

#[tokio::test]
async fn a_stop_kills_a_cli_that_does_not_react_and_its_tools() {
    let (scene, tool) = with_running_tool(|_| {}).await;
    let mut watch = scene.watch().await;
    let cli = scene.processes()[0];
    send_signal(cli, Signal::STOP);
    assert!(scene.agents.stop(scene.incident, ana()).await);
    assert!(!is_alive(tool) && !is_alive(cli));
    let (outcome, reason) = outcome_of(&watch.until_end().await);
    assert_eq!(outcome, TurnOutcome::Stopped);
    assert!(reason.contains("killed"), "{reason}");
    assert_eq!(texts(&scene.run_turn("And now?").await), ["Still here."]);
}

#[tokio::test]
async fn a_stop_without_a_turn_stops_nothing() {
    let scene = Scene::start([Reply::text("Yes.")]).await;
    assert!(!scene.agents.stop(scene.incident, ana()).await);
    scene.run_turn("Are you there?").await;
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
    // Watch from before the turn: it may end as soon as the tool was seen.
    let mut watch = scene.watch().await;
    scene.prompt("Work.").await;
    let tool = pid_in(&file).await;
    let (outcome, reason) = outcome_of(&watch.until_end().await);
    assert_eq!(outcome, TurnOutcome::TimedOut);
    assert!(reason.contains("longer than 10 s"), "{reason}");
    let _ = scene.agents.stop(scene.incident, ana()).await;
    assert!(!is_alive(tool));
}

#[tokio::test]
async fn a_shutdown_during_a_turn_records_its_end_and_leaves_no_process() {
    let (scene, tool) = with_running_tool(|_| {}).await;
    let mut watch = scene.watch().await;
    scene.agents.shutdown().await;
    let (outcome, reason) = outcome_of(&watch.until_end().await);
    assert_eq!(outcome, TurnOutcome::Interrupted);
    assert!(reason.contains("shut down"), "{reason}");
    assert!(!is_alive(tool));
    assert_eq!(marked(&scene.options.home), Vec::<i32>::new());
    let late = scene
        .agents
        .prompt(
            scene.incident,
            ana(),
            "Hello?".to_owned(),
            PromptTarget::default(),
        )
        .await;
    assert!(matches!(late, Err(PromptError::Unavailable(_))));
}

#[tokio::test]
async fn the_least_recently_used_idle_process_is_retired_and_a_busy_one_is_not() {
    let scene = Scene::with([Reply::text("One."), Reply::text("Two.")], |options| {
        options.max_processes = 1;
        options.targets.push(names("other", "host"));
    })
    .await;
    scene.run_turn("First incident.").await;
    let first = scene.processes();
    let other = scene.open("other").await;
    let file = scene.file("pid");
    scene
        .agents
        .prompt(other, ana(), "Second.".to_owned(), PromptTarget::default())
        .await
        .unwrap();
    assert!(!is_alive(first[0]) && scene.processes().len() == 1);
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
        .prompt(other, ana(), "Third.".to_owned(), PromptTarget::default())
        .await
        .unwrap();
    let busy = scene
        .agents
        .prompt(
            scene.incident,
            ana(),
            "Fourth.".to_owned(),
            PromptTarget::default(),
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
    let cli = pid_in(&pid).await;
    let begun = Instant::now();
    scene.agents.shutdown().await;
    // The timeout for the CLI is 30 s.
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert!(!is_alive(cli));
}

#[tokio::test]
async fn a_warmed_process_ends_when_it_is_idle_for_too_long() {
    let scene = Scene::with([], |options| options.idle_limit = Duration::from_secs(1)).await;
    scene.agents.warm(scene.incident);
    for wanted in [1, 0] {
        let reached = || scene.processes().len() == wanted;
        until("the process starts, and then ends", reached).await;
    }
}

#[tokio::test]
async fn the_environment_of_the_cli_contains_only_listed_variables() {
    let scene = Scene::start([Reply::text("Yes.")]).await;
    scene.run_turn("Are you there?").await;
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
async fn a_new_server_kills_leftovers_of_a_killed_one_but_not_processes_of_a_running_one() {
    let home = tempfile::tempdir().unwrap();
    let options = AgentOptions::new("no-such-claude", home.path());
    let log = Log::open(Options::in_memory());
    let living = Agents::new(options.clone(), log.clone(), Arc::new(NoGateway));
    living.health().await;
    let mark = format!("{}#left-over", home.path().display());
    let mut left = Command::new("sleep")
        .arg("60")
        .env("BREAKGLASS_CELL", mark)
        .spawn()
        .unwrap();
    // The process gets its environment, and releases the cell's lock, a moment after its start.
    until("the leftover runs", || !marked(home.path()).is_empty()).await;
    // Each health check is a job after the sweep, so the sweep is over when it returns.
    Agents::new(options.clone(), log.clone(), Arc::new(NoGateway))
        .health()
        .await;
    assert!(left.try_wait().unwrap().is_none());
    drop(living);
    Agents::new(options, log, Arc::new(NoGateway))
        .health()
        .await;
    assert!(!left.wait().unwrap().success());
}
