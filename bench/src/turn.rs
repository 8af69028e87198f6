//! From a prompt to the first text of its answer, in the second turn of a living CLI, against a
//! process a turn. Real claude CLI, scripted model.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use breakglass_agent::{AgentOptions, Agents, PromptTarget, TargetNames};
use breakglass_log::{Log, Options};
use breakglass_model::gateway::NoGateway;
use breakglass_model::{Actor, IncidentId};
use breakglass_rig::claude::claude;
use breakglass_rig::model::{ModelServer, Reply};
use futures_util::StreamExt as _;

use crate::stats;

const ROUNDS: usize = 7;
const ANSWER: &str = "All is well.";

pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let (ours, theirs) = runtime.unwrap().block_on(measure());
    stats::print(
        "prompt to first text, second turn",
        &format!("{ours:.0} ms"),
        &format!("a process per turn: {theirs:.0} ms"),
        Some(ours / theirs),
        "≤ 0.15×",
    );
}

async fn measure() -> (f64, f64) {
    let model = ModelServer::start(std::iter::repeat_n(Reply::text(ANSWER), 4 * ROUNDS + 4)).await;
    let home = tempfile::tempdir().unwrap();
    let mut options = AgentOptions::new(claude(), home.path());
    options.env = environment(&model);
    options.targets = vec![TargetNames {
        guest: "devvm".to_owned(),
        host: "pve".to_owned(),
    }];
    let log = Log::open(Options::in_memory());
    let agents = Agents::new(options, log.clone(), Arc::new(NoGateway));
    let incident = log
        .open_incident("devvm", Actor::System, false)
        .await
        .unwrap();
    living(&agents, &log, incident).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(living(&agents, &log, incident).await);
        theirs.push(process(&model, home.path()));
    }
    agents.shutdown().await;
    (stats::median(&mut ours), stats::median(&mut theirs))
}

fn environment(model: &ModelServer) -> Vec<(String, String)> {
    [
        ("PATH", std::env::var("PATH").unwrap()),
        ("ANTHROPIC_BASE_URL", model.url()),
        ("ANTHROPIC_API_KEY", "sk-bench".to_owned()),
        ("IS_SANDBOX", "1".to_owned()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Milliseconds to the first delta; returns when the turn has ended.
async fn living(agents: &Agents, log: &Log, incident: IncidentId) -> f64 {
    let head = log.incident(incident).await.unwrap().unwrap().head;
    let mut stream = log.attach(incident, head).unwrap();
    let started = Instant::now();
    let actor = Actor::Operator("bench".to_owned());
    agents
        .prompt(
            incident,
            actor,
            "How is it?".to_owned(),
            PromptTarget::default(),
        )
        .await
        .unwrap();
    let mut first = None;
    while let Some(bytes) = stream.next().await {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if first.is_none() && text.contains("event: text_delta") {
            first = Some(stats::millis(started.elapsed()));
        }
        if text.contains("event: turn_ended") {
            assert!(text.contains("\"done\""), "{text}");
            break;
        }
    }
    first.expect("text was typed")
}

fn process(model: &ModelServer, home: &std::path::Path) -> f64 {
    let started = Instant::now();
    let mut child = Command::new(claude())
        .args([
            "-p",
            "How is it?",
            "--output-format",
            "stream-json",
            "--verbose",
        ])
        .arg("--include-partial-messages")
        .env_clear()
        .envs(environment(model))
        .env("HOME", home.join("alone"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut first = None;
    for line in lines {
        if first.is_none() && line.contains("text_delta") {
            first = Some(started.elapsed());
        }
    }
    assert!(child.wait().unwrap().success());
    first.map_or(Duration::MAX, |first| first).as_secs_f64() * 1e3
}
