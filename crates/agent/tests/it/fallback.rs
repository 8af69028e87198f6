//! Several agents in one incident: a prompt can name one, and one takes over for another.

use std::sync::Arc;

use crate::support::{Scene, ana, notices, outcome_of, texts};
use breakglass_agent::{AgentOptions, Agents, PromptError, PromptTarget};
use breakglass_model::gateway::NoGateway;
use breakglass_model::{Actor, EventBody, TurnOutcome};
use breakglass_rig::model::{ModelServer, Reply};

/// A second agent with its own model and cell.
fn second(first: &AgentOptions, model: &ModelServer) -> AgentOptions {
    let mut second = first.clone();
    second.name = "second".to_owned();
    second.home = first.home.with_file_name("second");
    second.work_dir = second.home.join("work");
    second.lock = second.home.with_file_name("second.lock");
    for (name, value) in &mut second.env {
        if name == "ANTHROPIC_BASE_URL" {
            *value = model.url();
        }
    }
    second
}

async fn with_two(
    replies: Vec<Reply>,
    others: Vec<Reply>,
    fallback: Option<&str>,
) -> (Scene, ModelServer) {
    let other = ModelServer::start(others).await;
    let mut scene = Scene::with(replies, |options| {
        options.fallback = fallback.map(str::to_owned);
    })
    .await;
    let second = second(&scene.options, &other);
    scene.agents.shutdown().await;
    scene.agents = Agents::with_others(
        scene.options.clone(),
        vec![second],
        scene.log.clone(),
        Arc::new(NoGateway),
    );
    (scene, other)
}

async fn ask(scene: &Scene, text: &str, agent: &str) -> Vec<EventBody> {
    let mut watch = scene.watch().await;
    let target = PromptTarget {
        agent: Some(agent.to_owned()),
        model: None,
    };
    let prompted = scene
        .agents
        .prompt(scene.incident, ana(), text.to_owned(), target);
    prompted.await.unwrap();
    watch.until_end().await
}

fn agents(events: &[EventBody]) -> Vec<&str> {
    let mut all = Vec::new();
    for event in events {
        if let EventBody::TurnStarted { agent, .. } = event {
            all.extend(agent.as_deref());
        }
    }
    all
}

#[tokio::test]
async fn an_agent_that_takes_over_gets_a_summary_of_the_earlier_turns() {
    let first = vec![
        Reply::bash("echo a-sign-of-the-first"),
        Reply::text("The disk is full."),
        Reply::text("Back again."),
    ];
    let (scene, other) = with_two(first, vec![Reply::text("I see.")], None).await;
    let events = scene.run_turn("What is wrong with it?").await;
    assert_eq!(agents(&events), ["claude"]);
    let events = ask(&scene, "And now?", "second").await;
    assert_eq!(agents(&events), ["second"]);
    assert_eq!(texts(&events), ["I see."]);
    let request = other.requests()[0].text();
    for part in ["What is wrong with it?", "The disk is full.", "And now?"] {
        assert!(request.contains(part), "{part}: {request}");
    }
    // The incident stays with this agent until a prompt names another one.
    other.then(Reply::text("Still me."));
    assert_eq!(agents(&scene.run_turn("Go on.").await), ["second"]);
    let events = ask(&scene, "You again.", "claude").await;
    assert_eq!(texts(&events), ["Back again."]);
    let request = scene.model.requests().last().unwrap().text();
    // It resumes its own session, and gets a summary of the turns since.
    assert!(request.contains("a-sign-of-the-first") && request.contains("Still me."));
}

#[tokio::test]
async fn the_fallback_takes_over_if_the_model_can_not_be_reached() {
    let down = vec![Reply::Status(529), Reply::Status(529)];
    let (scene, other) = with_two(down, vec![Reply::text("Here I am.")], Some("second")).await;
    let mut watch = scene.watch().await;
    scene.prompt("What is wrong with it?").await;
    let failed = watch.until_end().await;
    assert_eq!(outcome_of(&failed).0, TurnOutcome::Failed);
    let events = watch.until_end().await;
    assert_eq!(notices(&events)[0].0, "agent_fallback");
    assert_eq!(
        (agents(&events), texts(&events)),
        (vec!["second"], vec!["Here I am."])
    );
    assert!(
        other.requests()[0]
            .text()
            .contains("What is wrong with it?")
    );
}

#[tokio::test]
async fn a_fallback_that_fails_too_has_no_further_fallback() {
    let down = || vec![Reply::Status(529), Reply::Status(529)];
    let (scene, _other) = with_two(down(), down(), Some("second")).await;
    let mut watch = scene.watch().await;
    scene.prompt("What is wrong with it?").await;
    for _ in 0..2 {
        assert_eq!(outcome_of(&watch.until_end().await).0, TurnOutcome::Failed);
    }
    let events = scene.log.events(scene.incident, 0, 100).await.unwrap();
    let prompts = events
        .iter()
        .filter(|event| matches!(event.body, EventBody::Prompt { .. }));
    let actors: Vec<_> = prompts.map(|event| event.actor.clone()).collect();
    assert_eq!(actors, [ana(), Actor::System]);
}

#[tokio::test]
async fn a_refused_login_does_not_start_the_fallback() {
    let refused = vec![Reply::Status(401), Reply::Status(401)];
    let (scene, other) = with_two(refused, Vec::new(), Some("second")).await;
    scene.run_turn("Hello?").await;
    scene.agents.shutdown().await;
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_prompt_for_an_unknown_agent_is_refused_and_not_recorded() {
    let (scene, _other) = with_two(Vec::new(), Vec::new(), None).await;
    let target = PromptTarget {
        agent: Some("third".to_owned()),
        model: None,
    };
    let prompted = scene
        .agents
        .prompt(scene.incident, ana(), "Hello?".to_owned(), target);
    let refused = prompted.await.unwrap_err();
    assert!(matches!(refused, PromptError::NoSuchAgent(_)), "{refused}");
    let head = scene.log.incident(scene.incident).await.unwrap();
    assert_eq!(head.unwrap().head, 1);
}
