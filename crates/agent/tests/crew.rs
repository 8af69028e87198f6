//! Several agents in one incident: one is asked by name, and one goes on for another.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use breakglass_agent::{AgentOptions, Agents, Asked, PromptError};
use breakglass_model::gateway::NoGateway;
use breakglass_model::{Actor, EventBody, TurnOutcome};
use breakglass_rig::model::{ModelServer, Reply};
use support::{Scene, ana, ending, notices, texts};

/// A second agent with a model and a cell of its own, beside `first`.
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
    scene.agents = Agents::several(
        scene.options.clone(),
        vec![second],
        scene.journal.clone(),
        Arc::new(NoGateway),
    );
    (scene, other)
}

async fn ask(scene: &Scene, text: &str, agent: &str) -> Vec<EventBody> {
    let mut watch = scene.watch().await;
    let asked = Asked {
        agent: Some(agent.to_owned()),
        model: None,
    };
    let taken = scene
        .agents
        .prompt(scene.incident, ana(), text.to_owned(), asked);
    taken.await.unwrap();
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
async fn an_agent_that_takes_over_is_told_what_was_asked_said_and_run_before() {
    let first = vec![
        Reply::bash("echo a-sign-of-the-first"),
        Reply::text("The disk is full."),
        Reply::text("Back again."),
    ];
    let (scene, other) = with_two(first, vec![Reply::text("I see.")], None).await;
    let events = scene.say("What is wrong with it?").await;
    assert_eq!(agents(&events), ["claude"]);
    let events = ask(&scene, "And now?", "second").await;
    assert_eq!(agents(&events), ["second"]);
    assert_eq!(texts(&events), ["I see."]);
    let asked = other.requests()[0].text();
    for told in ["What is wrong with it?", "The disk is full.", "And now?"] {
        assert!(asked.contains(told), "{told}: {asked}");
    }
    // It stays with this one until another one is named.
    other.then(Reply::text("Still me."));
    assert_eq!(agents(&scene.say("Go on.").await), ["second"]);
    let events = ask(&scene, "You again.", "claude").await;
    assert_eq!(texts(&events), ["Back again."]);
    let asked = scene.model.requests().last().unwrap().text();
    // Its own session, and what it has missed.
    assert!(asked.contains("a-sign-of-the-first") && asked.contains("Still me."));
}

#[tokio::test]
async fn where_the_model_can_not_be_reached_the_fallback_goes_on_by_itself() {
    let down = vec![Reply::Status(529), Reply::Status(529)];
    let (scene, other) = with_two(down, vec![Reply::text("Here I am.")], Some("second")).await;
    let mut watch = scene.watch().await;
    scene.prompt("What is wrong with it?").await;
    let failed = watch.until_end().await;
    assert_eq!(ending(&failed).0, TurnOutcome::Failed);
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
async fn a_fallback_that_is_down_as_well_is_the_end_of_it() {
    let down = || vec![Reply::Status(529), Reply::Status(529)];
    let (scene, _other) = with_two(down(), down(), Some("second")).await;
    let mut watch = scene.watch().await;
    scene.prompt("What is wrong with it?").await;
    for _ in 0..2 {
        assert_eq!(ending(&watch.until_end().await).0, TurnOutcome::Failed);
    }
    let events = scene.journal.events(scene.incident, 0, 100).await.unwrap();
    let prompts = events
        .iter()
        .filter(|event| matches!(event.body, EventBody::Prompt { .. }));
    let actors: Vec<_> = prompts.map(|event| event.actor.clone()).collect();
    assert_eq!(actors, [ana(), Actor::System]);
}

#[tokio::test]
async fn a_login_that_is_refused_is_no_reason_for_the_fallback() {
    let refused = vec![Reply::Status(401), Reply::Status(401)];
    let (scene, other) = with_two(refused, Vec::new(), Some("second")).await;
    scene.say("Hello?").await;
    scene.agents.shutdown().await;
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn an_agent_that_is_none_is_refused_before_anything_is_recorded() {
    let (scene, _other) = with_two(Vec::new(), Vec::new(), None).await;
    let asked = Asked {
        agent: Some("third".to_owned()),
        model: None,
    };
    let taken = scene
        .agents
        .prompt(scene.incident, ana(), "Hello?".to_owned(), asked);
    let refused = taken.await.unwrap_err();
    assert!(matches!(refused, PromptError::NoSuchAgent(_)), "{refused}");
    let head = scene.journal.incident(scene.incident).await.unwrap();
    assert_eq!(head.unwrap().head, 1);
}
