//! The promises about failures, versions and model names.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use breakglass_agent::{AgentKind, AgentOptions, PromptError, PromptTarget};
use breakglass_model::{EventBody, TurnOutcome};
use breakglass_rig::model::Reply;
use rustix::process::Signal;

use super::agents::Setup;
use super::promises::{finished, scene};
use crate::support::{
    ana, is_alive, marked, notices, outcome_of, pid_in, send_signal, started, texts, until,
};

pub(crate) async fn a_killed_agent_ends_the_turn_and_the_next_prompt_resumes_its_session(
    setup: Setup,
) {
    let scene = scene([], setup).await;
    let file = scene.file("pid");
    scene.model.then(Reply::bash(&format!(
        "echo $$ > {}; sleep 60",
        file.display()
    )));
    scene.model.then(Reply::text("I remember."));
    let mut watch = scene.watch().await;
    scene.prompt("Remember the word pumpernickel.").await;
    let tool = pid_in(&file).await;
    until("the session is written", || {
        holds(&scene.options.home, "pumpernickel")
    })
    .await;
    send_signal(scene.processes()[0], Signal::KILL);
    let events = watch.until_end().await;
    let (outcome, reason) = outcome_of(&events);
    assert_eq!(outcome, TurnOutcome::Interrupted);
    assert!(reason.contains("signal: 9"), "{reason}");
    assert!(!is_alive(tool), "the tool survived its agent");
    assert_eq!(marked(&scene.options.home), Vec::<i32>::new());
    let next = scene.run_turn("Which word?").await;
    assert_eq!(texts(&next), ["I remember."], "{next:?}");
    assert_eq!(started(&events).0, started(&next).0);
    assert!(scene.model.requests()[1].text().contains("pumpernickel"));
}

/// Whether any file below `dir` contains `word`.
fn holds(dir: &Path, word: &str) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_symlink() {
            return false;
        }
        if path.is_dir() {
            return holds(&path, word);
        }
        let text = std::fs::read(&path).unwrap_or_default();
        String::from_utf8_lossy(&text).contains(word)
    })
}

pub(crate) async fn a_restarted_server_resumes_the_session(setup: Setup) {
    let mut scene = scene(
        [Reply::text("Noted so far."), Reply::text("I remember.")],
        setup,
    )
    .await;
    let first = scene.run_turn("Remember the word pumpernickel.").await;
    until("the session is written", || {
        holds(&scene.options.home, "Noted so far")
    })
    .await;
    scene.restart().await;
    let second = scene.run_turn("Which word?").await;
    assert_eq!(started(&first).0, started(&second).0);
    assert_eq!(texts(&second), ["I remember."], "{second:?}");
    assert!(scene.model.requests()[1].text().contains("pumpernickel"));
}

pub(crate) async fn a_lost_session_is_reported_and_a_new_one_begins(setup: Setup) {
    let mut scene = scene([Reply::text("Noted."), Reply::text("Who are you?")], setup).await;
    let first = scene.run_turn("Remember the word pumpernickel.").await;
    scene.agents.shutdown().await;
    std::fs::remove_dir_all(&scene.options.home).unwrap();
    scene.restart().await;
    let second = scene.run_turn("Which word?").await;
    assert_eq!(notices(&second)[0].0, "agent_session_lost");
    assert_ne!(started(&first).0, started(&second).0);
    assert_eq!(texts(&second), ["Who are you?"]);
}

pub(crate) async fn a_refused_login_is_reported_with_its_remedy(setup: Setup) {
    let refused = Reply::Error(
        401,
        "authentication_error",
        "Incorrect API key provided: sk-x.",
    );
    let scene = scene([refused.clone(), refused.clone(), refused], |options| {
        setup(options);
        options.login_remedy = "Put a key into /secrets/key.".to_owned();
    })
    .await;
    let events = scene.run_turn("Hello?").await;
    let (outcome, reason) = outcome_of(&events);
    let codes: Vec<&str> = notices(&events).iter().map(|(code, _)| *code).collect();
    assert_eq!(
        (outcome, codes),
        (TurnOutcome::Failed, vec!["agent_login_expired"])
    );
    assert!(reason.contains("login has expired"), "{reason}");
    assert!(reason.contains("Put a key into /secrets/key."), "{reason}");
    assert!(!scene.agents.health().await.available);
}

fn assert_unreachable(events: &[EventBody]) {
    let notices = notices(events);
    let (code, message) = notices[0];
    assert_eq!(code, "model_unreachable", "{notices:?}");
    assert!(
        message.starts_with("The model does not answer ("),
        "{message}"
    );
    assert!(
        message.ends_with("Power and checks work without it."),
        "{message}"
    );
    let (outcome, reason) = outcome_of(events);
    assert_eq!(outcome, TurnOutcome::Failed);
    assert!(!reason.is_empty());
}

pub(crate) async fn a_model_that_refuses_connections_is_reported_and_fails_the_turn(setup: Setup) {
    let mut scene = scene([], setup).await;
    scene.model.refuse_connections().await;
    let events = scene.run_turn("Hello?").await;
    assert_unreachable(&events);
    assert!(
        notices(&events)[0].1.contains("no connection"),
        "{events:?}"
    );
}

pub(crate) async fn an_overloaded_model_is_reported_and_fails_the_turn(setup: Setup) {
    let overloaded = || Reply::Error(529, "overloaded_error", "Overloaded");
    let scene = scene([overloaded(), overloaded(), overloaded()], setup).await;
    assert_unreachable(&scene.run_turn("Hello?").await);
}

pub(crate) async fn a_missing_answer_is_reported_and_ends_the_turn(setup: Setup) {
    let scene = scene([Reply::Hang, Reply::text("Back.")], |options| {
        setup(options);
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

pub(crate) async fn hostile_output_is_bounded_and_made_visible(setup: Setup) {
    let command = "head -c 10000000 /dev/zero | tr '\\0' x; printf '\\033[31mred\\007\\r\\n'";
    let replies = [
        Reply::bash(command),
        Reply::text("Much."),
        Reply::text("More."),
    ];
    let scene = scene(replies, setup).await;
    let events = scene.run_turn("Look.").await;
    assert_eq!(texts(&events), ["Much."]);
    let (output, _) = finished(&events)[0];
    assert!(output.len() < 100_000, "{}", output.len());
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!output.contains(control));
    assert_eq!(texts(&scene.run_turn("Again.").await), ["More."]);
}

pub(crate) async fn the_health_contains_the_version(setup: Setup) {
    let health = scene([], setup).await.agents.health().await;
    assert!(health.available, "{health:?}");
    let version = health.version.unwrap();
    assert!(version.contains(|c: char| c.is_ascii_digit()), "{version}");
    assert!(health.message.contains(&version) && health.message.ends_with('.'));
}

async fn refused(setup: Setup, change: impl FnOnce(&mut AgentOptions)) -> [String; 2] {
    let scene = scene([], |options| {
        setup(options);
        change(options);
    });
    let scene = scene.await;
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
    [why, health.message]
}

/// Replaces the agent's program.
fn replace(options: &mut AgentOptions, program: &Path) {
    match &mut options.kind {
        AgentKind::Claude => options.command = program.to_owned(),
        AgentKind::Acp(agent) => agent.command = program.to_owned(),
    }
}

pub(crate) async fn a_missing_agent_is_reported(setup: Setup) {
    for message in refused(setup, |options| {
        replace(options, Path::new("no-such-agent"));
    })
    .await
    {
        assert!(
            message.contains("is missing: there is no no-such-agent"),
            "{message}"
        );
        assert!(message.contains("nstall it"), "{message}");
    }
}

pub(crate) async fn an_agent_that_dies_at_once_is_reported_with_its_last_words(setup: Setup) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("agent");
    std::fs::write(
        &program,
        "#!/bin/sh\necho libfoo.so is missing >&2\nexit 3\n",
    )
    .unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
    for message in refused(setup, |options| replace(options, &program)).await {
        assert!(message.contains("exit status: 3"), "{message}");
        assert!(message.contains("libfoo.so is missing"), "{message}");
    }
}

pub(crate) async fn a_prompt_can_name_its_model(setup: Setup) {
    let scene = scene([Reply::text("One."), Reply::text("Two.")], setup).await;
    scene.run_turn("With the usual one.").await;
    let (name, asked) = match &scene.options.kind {
        AgentKind::Claude => ("opus", "opus"),
        AgentKind::Acp(agent) if agent.command.ends_with("codex-acp") => ("gpt-5.5", "gpt-5.5"),
        AgentKind::Acp(_) => ("local/gpt-5.5", "gpt-5.5"),
    };
    let mut watch = scene.watch().await;
    let prompt = "With another.".to_owned();
    let prompted = scene.agents.prompt(
        scene.incident,
        ana(),
        prompt,
        PromptTarget {
            agent: None,
            model: Some(name.to_owned()),
        },
    );
    prompted.await.unwrap();
    let second = watch.until_end().await;
    assert_eq!((texts(&second), started(&second).1), (vec!["Two."], name));
    let requests = scene.model.requests();
    assert!(
        requests[1].model().contains(asked),
        "{}",
        requests[1].model()
    );
    assert!(
        !requests[0].model().contains(asked),
        "{}",
        requests[0].model()
    );
}
