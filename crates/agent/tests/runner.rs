//! The real CLI behind a runner.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use breakglass_agent::Asked;
use breakglass_agent::RunnerAccess;
use breakglass_agent::runner::{Runner, RunnerOptions};
use breakglass_model::TurnOutcome;
use breakglass_rig::model::Reply;
use support::{DEADLINE, Scene, ending, lives, marked, sentinel, texts};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A runner in this process, which alone has the login of the model's API.
struct Behind {
    options: RunnerOptions,
    end: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Behind {
    fn start(&mut self) {
        self.end = CancellationToken::new();
        let runner = Runner::bind(self.options.clone(), self.end.clone()).unwrap();
        self.running = Some(tokio::spawn(runner.run()));
    }

    /// Ends it in good order; every process is gone then.
    async fn stop(&mut self) {
        self.end.cancel();
        let running = self.running.take().unwrap();
        timeout(DEADLINE, running).await.unwrap().unwrap();
    }
}

/// A scene whose CLI runs behind a runner; the scene's own options hold no login.
async fn scene(replies: impl IntoIterator<Item = Reply>) -> (Scene, Behind) {
    let mut behind = None;
    let scene = Scene::with(replies, |options| {
        let dir = options.home.parent().unwrap().to_owned();
        let socket = dir.join("sock");
        behind = Some(Behind {
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
    let mut behind = behind.unwrap();
    behind.start();
    (scene, behind)
}

#[tokio::test]
async fn a_turn_runs_behind_the_runner_with_the_runners_login() {
    let (scene, mut behind) = scene([Reply::text("One."), Reply::text("Two.")]).await;
    let health = scene.agents.health().await;
    assert!(health.available, "{}", health.message);
    assert!(health.version.unwrap().contains("Claude Code"));
    assert_eq!(texts(&scene.say("First.").await), ["One."]);
    let cli = marked(&behind.options.agent.home);
    assert_eq!(texts(&scene.say("Second.").await), ["Two."]);
    assert_eq!(marked(&behind.options.agent.home), cli);
    assert!(!scene.options.home.exists());
    scene.agents.shutdown().await;
    assert_eq!(marked(&behind.options.agent.home), Vec::<i32>::new());
    behind.stop().await;
}

#[tokio::test]
async fn a_stop_behind_the_runner_leaves_no_tool_and_keeps_the_cli_warm() {
    let (scene, behind) = scene([]).await;
    let file = scene.file("pid");
    let work = format!("sleep 61 & echo $! > {}; sleep 60", file.display());
    scene.model.then(Reply::bash(&work));
    scene.model.then(Reply::text("Still here."));
    let mut watch = scene.watch().await;
    scene.prompt("Work.").await;
    let tool = sentinel(&file).await;
    assert!(scene.agents.stop(scene.incident, support::ana()).await);
    assert!(!lives(tool));
    assert_eq!(ending(&watch.until_end().await).0, TurnOutcome::Stopped);
    let cli = marked(&behind.options.agent.home);
    assert_eq!(texts(&scene.say("And now?").await), ["Still here."]);
    assert_eq!(marked(&behind.options.agent.home), cli);
}

#[tokio::test]
async fn a_turn_is_interrupted_when_the_runner_dies_and_the_next_one_finds_its_successor() {
    let (scene, mut behind) = scene([Reply::Hang]).await;
    let mut watch = scene.watch().await;
    scene.prompt("Work.").await;
    scene.model.wait_for_requests(1).await;
    behind.stop().await;
    let (outcome, reason) = ending(&watch.until_end().await);
    assert_eq!(outcome, TurnOutcome::Interrupted);
    assert!(reason.contains("died in mid-turn"), "{reason}");
    let refused = scene
        .agents
        .prompt(
            scene.incident,
            support::ana(),
            "Now?".to_owned(),
            Asked::default(),
        )
        .await;
    let why = refused.unwrap_err().to_string();
    assert!(
        why.contains("runner does not answer") && why.contains("--listen"),
        "{why}"
    );
    behind.start();
    scene.model.then(Reply::text("Here again."));
    assert_eq!(texts(&scene.say("And now?").await), ["Here again."]);
}
