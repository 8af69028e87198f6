//! The real CLI behind a runner.

use crate::support::{DEADLINE, Scene, is_alive, marked, outcome_of, pid_in, texts};
use breakglass_agent::PromptTarget;
use breakglass_agent::RunnerAccess;
use breakglass_agent::runner::{Runner, RunnerOptions};
use breakglass_model::TurnOutcome;
use breakglass_rig::model::Reply;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A runner in this process; only the runner has the login of the model's API.
struct TestRunner {
    options: RunnerOptions,
    end: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl TestRunner {
    fn start(&mut self) {
        self.end = CancellationToken::new();
        let bound = Runner::bind(self.options.clone(), self.end.clone()).unwrap();
        self.running = Some(tokio::spawn(bound.run()));
    }

    /// Shuts it down; then every process is gone.
    async fn stop(&mut self) {
        self.end.cancel();
        let running = self.running.take().unwrap();
        timeout(DEADLINE, running).await.unwrap().unwrap();
    }
}

/// A scene whose CLI runs behind a runner; the scene's own options have no login.
async fn scene(replies: impl IntoIterator<Item = Reply>) -> (Scene, TestRunner) {
    let mut runner = None;
    let scene = Scene::with(replies, |options| {
        let dir = options.home.parent().unwrap().to_owned();
        let socket = dir.join("sock");
        runner = Some(TestRunner {
            options: RunnerOptions {
                socket: socket.clone(),
                peers: vec![rustix::process::geteuid().as_raw()],
                agent: options.clone(),
                ssh_dir: dir.clone(),
            },
            end: CancellationToken::new(),
            running: None,
        });
        options.env.clear();
        options.command = "not-here".into();
        options.home = dir.join("nothing-of-the-servers");
        options.runner = Some(RunnerAccess {
            socket,
            ssh_config: String::new(),
            known_hosts: String::new(),
        });
    })
    .await;
    let mut runner = runner.unwrap();
    runner.start();
    (scene, runner)
}

#[tokio::test]
async fn a_turn_runs_behind_the_runner_with_its_login() {
    let (scene, mut runner) = scene([Reply::text("One."), Reply::text("Two.")]).await;
    let health = scene.agents.health().await;
    assert!(health.available, "{}", health.message);
    assert!(health.version.unwrap().contains("Claude Code"));
    assert_eq!(texts(&scene.run_turn("First.").await), ["One."]);
    let cli = marked(&runner.options.agent.home);
    assert_eq!(texts(&scene.run_turn("Second.").await), ["Two."]);
    assert_eq!(marked(&runner.options.agent.home), cli);
    assert!(!scene.options.home.exists());
    scene.agents.shutdown().await;
    assert_eq!(marked(&runner.options.agent.home), Vec::<i32>::new());
    runner.stop().await;
}

#[tokio::test]
async fn a_stop_behind_the_runner_leaves_no_tool_and_keeps_the_cli() {
    let (scene, runner) = scene([]).await;
    let file = scene.file("pid");
    let work = format!("sleep 61 & echo $! > {}; sleep 60", file.display());
    scene.model.then(Reply::bash(&work));
    scene.model.then(Reply::text("Still here."));
    let mut watch = scene.watch().await;
    scene.prompt("Work.").await;
    let tool = pid_in(&file).await;
    assert!(
        scene
            .agents
            .stop(scene.incident, crate::support::ana())
            .await
    );
    assert!(!is_alive(tool));
    assert_eq!(outcome_of(&watch.until_end().await).0, TurnOutcome::Stopped);
    let cli = marked(&runner.options.agent.home);
    assert_eq!(texts(&scene.run_turn("And now?").await), ["Still here."]);
    assert_eq!(marked(&runner.options.agent.home), cli);
}

#[tokio::test]
async fn a_turn_is_interrupted_when_the_runner_dies_and_the_next_one_uses_a_new_runner() {
    let (scene, mut runner) = scene([Reply::Hang]).await;
    let mut watch = scene.watch().await;
    scene.prompt("Work.").await;
    scene.model.wait_for_requests(1).await;
    runner.stop().await;
    let (outcome, reason) = outcome_of(&watch.until_end().await);
    assert_eq!(outcome, TurnOutcome::Interrupted);
    assert!(reason.contains("died during the turn"), "{reason}");
    let refused = scene
        .agents
        .prompt(
            scene.incident,
            crate::support::ana(),
            "Now?".to_owned(),
            PromptTarget::default(),
        )
        .await;
    let why = refused.unwrap_err().to_string();
    assert!(
        why.contains("runner does not answer") && why.contains("--listen"),
        "{why}"
    );
    runner.start();
    scene.model.then(Reply::text("Here again."));
    assert_eq!(texts(&scene.run_turn("And now?").await), ["Here again."]);
}
