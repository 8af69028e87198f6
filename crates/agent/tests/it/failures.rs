//! Failures of the model's API and of the CLI, and what the operator sees.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    Scene, ana, is_alive, notices, outcome_of, pid_in, send_signal, started, texts,
    transcript_holds,
};
use breakglass_agent::{Agents, PromptError, PromptTarget};
use breakglass_log::{Log, Options};
use breakglass_model::gateway::NoGateway;
use breakglass_model::{EventBody, TurnOutcome};
use breakglass_rig::model::Reply;
use rustix::process::Signal;

#[tokio::test]
async fn an_overloaded_api_is_reported_at_once_and_fails_the_turn() {
    let scene = Scene::start([Reply::Status(529), Reply::Status(529)]).await;
    let events = scene.run_turn("Hello?").await;
    let expected = "The model does not answer (529 overloaded): attempt 1 of 1. Power and checks work \
                    without it.";
    assert_eq!(notices(&events), [("model_unreachable", expected)]);
    let (outcome, reason) = outcome_of(&events);
    assert_eq!(outcome, TurnOutcome::Failed);
    assert!(reason.contains("529"), "{reason}");
}

#[tokio::test]
async fn a_refused_connection_is_reported_at_once_and_fails_the_turn() {
    let mut scene = Scene::start([]).await;
    scene.model.refuse_connections().await;
    let events = scene.run_turn("Hello?").await;
    let (code, message) = notices(&events)[0];
    assert_eq!(code, "model_unreachable");
    assert!(
        message.starts_with("The model does not answer (no connection"),
        "{message}"
    );
    assert_eq!(outcome_of(&events).0, TurnOutcome::Failed);
}

#[tokio::test]
async fn an_expired_login_is_reported_and_affects_the_health_until_a_turn_succeeds() {
    let scene = Scene::start([Reply::Status(401), Reply::Status(401)]).await;
    assert!(scene.agents.health().await.available);
    let events = scene.run_turn("Hello?").await;
    assert_eq!(notices(&events).len(), 1);
    assert_eq!(notices(&events)[0].0, "agent_login_expired");
    assert!(outcome_of(&events).1.contains("login has expired"));
    let health = scene.agents.health().await;
    assert!(
        !health.available && health.message.contains("expired"),
        "{health:?}"
    );
    scene.model.then(Reply::text("Here."));
    scene.run_turn("Hello?").await;
    assert!(scene.agents.health().await.available);
}

#[tokio::test]
async fn a_permanently_refused_login_has_a_remedy_and_affects_the_health() {
    for (reply, code) in [
        (
            Reply::Error(403, "permission_error", "nope"),
            "agent_login_expired",
        ),
        (
            Reply::Error(
                400,
                "invalid_request_error",
                "Your credit balance is too low to access the API.",
            ),
            "agent_no_credit",
        ),
        (
            Reply::Error(401, "authentication_error", "OAuth token has expired."),
            "agent_login_expired",
        ),
    ] {
        let scene = Scene::with([reply.clone(), reply], |options| {
            options.login_remedy = "Put a key into /secrets/key.".to_owned();
        })
        .await;
        let events = scene.run_turn("Hello?").await;
        let (outcome, reason) = outcome_of(&events);
        assert_eq!(
            (outcome, notices(&events)[0].0),
            (TurnOutcome::Failed, code)
        );
        assert!(reason.contains("Put a key into /secrets/key."), "{reason}");
        assert!(!reason.contains("/login"), "{reason}");
        let health = scene.agents.health().await;
        assert!(!health.available && health.login_failed && health.message == reason);
    }
}

#[tokio::test]
async fn an_api_that_never_answers_is_reported_and_then_ends_the_turn() {
    let scene = Scene::with([Reply::Hang, Reply::text("Back.")], |options| {
        options.silence_limit = Duration::from_secs(10);
    })
    .await;
    let events = scene.run_turn("Hello?").await;
    assert_eq!(notices(&events)[0].0, "agent_silent");
    let (outcome, reason) = outcome_of(&events);
    assert_eq!(outcome, TurnOutcome::Interrupted);
    assert!(reason.contains("printed nothing"), "{reason}");
    assert_eq!(texts(&scene.run_turn("Again.").await), ["Back."]);
}

#[tokio::test]
async fn a_killed_cli_ends_the_turn_and_the_next_prompt_resumes_its_session() {
    let scene = Scene::start([]).await;
    let file = scene.file("pid");
    scene.model.then(Reply::bash(&format!(
        "echo $$ > {}; sleep 60",
        file.display()
    )));
    scene.model.then(Reply::text("I remember."));
    let mut watch = scene.watch().await;
    scene.prompt("Remember the word pumpernickel.").await;
    let tool = pid_in(&file).await;
    transcript_holds(&scene, "pumpernickel").await;
    send_signal(scene.processes()[0], Signal::KILL);
    let events = watch.until_end().await;
    let (outcome, reason) = outcome_of(&events);
    assert_eq!(outcome, TurnOutcome::Interrupted);
    assert!(reason.contains("signal: 9"), "{reason}");
    let closed = |body: &EventBody| matches!(body, EventBody::ToolFinished { is_error: true, .. });
    assert!(events.iter().any(closed));
    assert!(!is_alive(tool), "the tool survived its CLI");
    let next = scene.run_turn("Which word?").await;
    assert_eq!(texts(&next), ["I remember."]);
    assert_eq!(started(&events).0, started(&next).0);
    assert!(scene.model.requests()[1].text().contains("pumpernickel"));
}

#[tokio::test]
async fn a_restarted_server_resumes_the_session_from_the_log() {
    let mut scene = Scene::start([Reply::text("Noted."), Reply::text("I remember.")]).await;
    let first = scene.run_turn("Remember the word pumpernickel.").await;
    // The CLI writes its transcript a moment after its answer.
    transcript_holds(&scene, "Noted.").await;
    scene.restart().await;
    let second = scene.run_turn("Which word?").await;
    assert_eq!(started(&first).0, started(&second).0);
    assert!(scene.model.requests()[1].text().contains("pumpernickel"));
}

#[tokio::test]
async fn a_lost_session_is_reported_and_a_new_one_begins() {
    let mut scene = Scene::start([Reply::text("Noted."), Reply::text("Who are you?")]).await;
    let first = scene.run_turn("Remember the word pumpernickel.").await;
    scene.agents.shutdown().await;
    std::fs::remove_dir_all(scene.options.home.join(".claude")).unwrap();
    scene.restart().await;
    let second = scene.run_turn("Which word?").await;
    assert_eq!(notices(&second)[0].0, "agent_session_lost");
    assert_ne!(started(&first).0, started(&second).0);
    assert_eq!(texts(&second), ["Who are you?"]);
}

#[tokio::test]
async fn an_agent_that_cannot_be_recorded_is_killed() {
    let scene = Scene::start([]).await;
    let file = scene.file("pid");
    scene.model.then(Reply::bash(&format!(
        "echo $$ > {}; sleep 60",
        file.display()
    )));
    scene.prompt("Work.").await;
    let tool = pid_in(&file).await;
    let cli = scene.processes()[0];
    scene.log.shutdown();
    let unrecorded = scene.agents.stop(scene.incident, ana());
    assert!(unrecorded.await);
    assert!(!is_alive(cli) && !is_alive(tool));
}

async fn refused(change: impl FnOnce(&mut breakglass_agent::AgentOptions)) -> (String, String) {
    let scene = Scene::with([], change).await;
    let health = scene.agents.health().await;
    assert!(!health.available);
    let prompt = scene
        .agents
        .prompt(
            scene.incident,
            ana(),
            "Hello?".to_owned(),
            PromptTarget::default(),
        )
        .await;
    let Err(PromptError::Unavailable(why)) = prompt else {
        panic!("{prompt:?}")
    };
    (why, health.message)
}

#[tokio::test]
async fn a_missing_cli_is_reported_with_a_remedy() {
    let (prompt, health) =
        refused(|options| options.command = PathBuf::from("no-such-claude")).await;
    assert!(
        prompt.contains("missing") && prompt.contains("agent.command"),
        "{prompt}"
    );
    assert_eq!(prompt, health);
}

#[tokio::test]
async fn an_unavailable_agent_is_a_notice_when_the_incident_is_opened() {
    let scene = Scene::with([], |options| {
        options.command = PathBuf::from("no-such-claude");
    })
    .await;
    let mut watch = scene.watch().await;
    scene.agents.warm(scene.incident);
    let events = watch.until_kind("notice").await;
    let (code, message) = notices(&events)[0];
    assert_eq!(code, "agent_unavailable");
    assert!(
        message.contains("missing") && message.contains("agent.command"),
        "{message}"
    );
}

#[tokio::test]
async fn a_degraded_log_refuses_prompts_and_affects_the_health() {
    let directory = tempfile::tempdir().unwrap();
    // A directory where the file should be: the log is_alive in memory, and says that it does.
    let log = Log::open(Options::at(directory.path()));
    let incident = log.open_incident("devvm", ana(), false).await.unwrap();
    let scene = Scene::start([]).await;
    // A separate cell: the scene's agents sweep theirs when they start.
    let cell = tempfile::tempdir().unwrap();
    let mut options = scene.options.clone();
    options.home = cell.path().to_owned();
    let agents = Agents::new(options, log, Arc::new(NoGateway));
    let prompt = agents.prompt(
        incident,
        ana(),
        "Hello?".to_owned(),
        PromptTarget::default(),
    );
    let refused = prompt.await.unwrap_err().to_string();
    assert!(
        refused.contains("cannot be recorded") && refused.contains("Power"),
        "{refused}"
    );
    assert_eq!(agents.health().await.message, refused);
}

#[tokio::test]
async fn a_cli_without_execute_permission_is_reported_with_a_remedy() {
    let home = tempfile::tempdir().unwrap();
    let command = home.path().join("claude");
    std::fs::write(&command, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&command, PermissionsExt::from_mode(0o600)).unwrap();
    let (prompt, health) = refused(|options| options.command = command).await;
    assert!(prompt.contains("may not be executed"), "{prompt}");
    assert_eq!(prompt, health);
}

#[tokio::test]
async fn a_cli_that_dies_at_once_is_reported_with_its_last_words() {
    let home = tempfile::tempdir().unwrap();
    let command = home.path().join("claude");
    std::fs::write(
        &command,
        "#!/bin/sh\necho libfoo.so is missing >&2\nexit 3\n",
    )
    .unwrap();
    std::fs::set_permissions(&command, PermissionsExt::from_mode(0o700)).unwrap();
    let (prompt, health) = refused(|options| options.command = command).await;
    assert!(
        prompt.contains("exit status: 3") && prompt.contains("libfoo.so is missing"),
        "{prompt}"
    );
    assert!(health.contains("libfoo.so is missing"), "{health}");
}

#[tokio::test]
async fn a_cli_without_a_login_is_reported() {
    let scene = Scene::with([], |options| {
        options.env.retain(|(name, _)| name != "ANTHROPIC_API_KEY");
    })
    .await;
    let health = scene.agents.health().await;
    assert!(
        !health.available && health.message.contains("not signed in"),
        "{health:?}"
    );
    assert!(health.message.contains("agent.api_key_file"), "{health:?}");
    let (outcome, reason) = outcome_of(&scene.run_turn("Hello?").await);
    assert_eq!(outcome, TurnOutcome::Failed);
    assert!(reason.contains("agent.api_key_file"), "{reason}");
    assert_eq!(health.version.as_deref(), Some("2.1.197 (Claude Code)"));
}
