//! The promises about what goes wrong, and about what agents are called.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use breakglass_agent::{AgentOptions, Asked, Kind, PromptError};
use breakglass_model::{EventBody, TurnOutcome};
use breakglass_rig::model::Reply;
use rustix::process::Signal;

use crate::agents::Dress;
use crate::promises::{finished, scene};
use crate::support::{
    ana, ending, lives, marked, notices, send_signal, sentinel, started, texts, until,
};

pub(crate) async fn an_agent_killed_in_mid_turn_ends_the_turn_and_the_next_prompt_resumes_its_session(
    dress: Dress,
) {
    let scene = scene([], dress).await;
    let file = scene.file("pid");
    scene.model.then(Reply::bash(&format!(
        "echo $$ > {}; sleep 60",
        file.display()
    )));
    scene.model.then(Reply::text("I remember."));
    let mut watch = scene.watch().await;
    scene.prompt("Remember the word pumpernickel.").await;
    let tool = sentinel(&file).await;
    until("the session is written", || {
        holds(&scene.options.home, "pumpernickel")
    })
    .await;
    send_signal(scene.processes()[0], Signal::KILL);
    let events = watch.until_end().await;
    let (outcome, reason) = ending(&events);
    assert_eq!(outcome, TurnOutcome::Interrupted);
    assert!(reason.contains("signal: 9"), "{reason}");
    assert!(!lives(tool), "the tool outlived its agent");
    assert_eq!(marked(&scene.options.home), Vec::<i32>::new());
    let next = scene.say("Which word?").await;
    assert_eq!(texts(&next), ["I remember."], "{next:?}");
    assert_eq!(started(&events).0, started(&next).0);
    assert!(scene.model.requests()[1].text().contains("pumpernickel"));
}

/// Whether any file below `dir` holds `word`.
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

pub(crate) async fn a_restarted_server_resumes_the_session(dress: Dress) {
    let mut scene = scene(
        [Reply::text("Noted so far."), Reply::text("I remember.")],
        dress,
    )
    .await;
    let first = scene.say("Remember the word pumpernickel.").await;
    until("the session is written", || {
        holds(&scene.options.home, "Noted so far")
    })
    .await;
    scene.restart().await;
    let second = scene.say("Which word?").await;
    assert_eq!(started(&first).0, started(&second).0);
    assert_eq!(texts(&second), ["I remember."], "{second:?}");
    assert!(scene.model.requests()[1].text().contains("pumpernickel"));
}

pub(crate) async fn a_lost_session_is_told_and_a_new_one_begins(dress: Dress) {
    let mut scene = scene([Reply::text("Noted."), Reply::text("Who are you?")], dress).await;
    let first = scene.say("Remember the word pumpernickel.").await;
    scene.agents.shutdown().await;
    std::fs::remove_dir_all(&scene.options.home).unwrap();
    scene.restart().await;
    let second = scene.say("Which word?").await;
    assert_eq!(notices(&second)[0].0, "agent_session_lost");
    assert_ne!(started(&first).0, started(&second).0);
    assert_eq!(texts(&second), ["Who are you?"]);
}

pub(crate) async fn a_refused_login_is_told_in_words_with_the_remedy(dress: Dress) {
    let refused = Reply::Error(
        401,
        "authentication_error",
        "Incorrect API key provided: sk-x.",
    );
    let scene = scene([refused.clone(), refused.clone(), refused], |options| {
        dress(options);
        options.sign_in = "Put a key into /secrets/key.".to_owned();
    })
    .await;
    let events = scene.say("Hello?").await;
    let (outcome, reason) = ending(&events);
    let codes: Vec<&str> = notices(&events).iter().map(|(code, _)| *code).collect();
    assert_eq!(
        (outcome, codes),
        (TurnOutcome::Failed, vec!["agent_login_expired"])
    );
    assert!(reason.contains("login has expired"), "{reason}");
    assert!(reason.contains("Put a key into /secrets/key."), "{reason}");
    assert!(!scene.agents.health().await.available);
}

fn told_unreachable(events: &[EventBody]) {
    let told = notices(events);
    let (code, message) = told[0];
    assert_eq!(code, "model_unreachable", "{told:?}");
    assert!(
        message.starts_with("The model does not answer ("),
        "{message}"
    );
    assert!(
        message.ends_with("Power and checks work without it."),
        "{message}"
    );
    let (outcome, reason) = ending(events);
    assert_eq!(outcome, TurnOutcome::Failed);
    assert!(!reason.is_empty());
}

pub(crate) async fn a_model_that_refuses_connections_is_told_and_fails_the_turn(dress: Dress) {
    let mut scene = scene([], dress).await;
    scene.model.refuse_connections().await;
    let events = scene.say("Hello?").await;
    told_unreachable(&events);
    assert!(
        notices(&events)[0].1.contains("no connection"),
        "{events:?}"
    );
}

pub(crate) async fn a_model_that_is_overloaded_is_told_and_fails_the_turn(dress: Dress) {
    let overloaded = || Reply::Error(529, "overloaded_error", "Overloaded");
    let scene = scene([overloaded(), overloaded(), overloaded()], dress).await;
    told_unreachable(&scene.say("Hello?").await);
}

pub(crate) async fn an_answer_that_never_comes_is_told_and_ends_the_turn(dress: Dress) {
    let scene = scene([Reply::Hang, Reply::text("Back.")], |options| {
        dress(options);
        options.silence_limit = Duration::from_secs(10);
    })
    .await;
    let events = scene.say("Hello?").await;
    assert_eq!(notices(&events)[0].0, "agent_silent");
    let (outcome, reason) = ending(&events);
    assert_eq!(outcome, TurnOutcome::Interrupted);
    assert!(reason.contains("said nothing"), "{reason}");
    assert_eq!(texts(&scene.say("Again.").await), ["Back."]);
}

pub(crate) async fn hostile_output_is_bounded_and_made_visible(dress: Dress) {
    let command = "head -c 10000000 /dev/zero | tr '\\0' x; printf '\\033[31mred\\007\\r\\n'";
    let replies = [
        Reply::bash(command),
        Reply::text("Much."),
        Reply::text("More."),
    ];
    let scene = scene(replies, dress).await;
    let events = scene.say("Look.").await;
    assert_eq!(texts(&events), ["Much."]);
    let (output, _) = finished(&events)[0];
    assert!(output.len() < 100_000, "{}", output.len());
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!output.contains(control));
    assert_eq!(texts(&scene.say("Again.").await), ["More."]);
}

pub(crate) async fn the_health_names_the_version(dress: Dress) {
    let health = scene([], dress).await.agents.health().await;
    assert!(health.available, "{health:?}");
    let version = health.version.unwrap();
    assert!(version.contains(|c: char| c.is_ascii_digit()), "{version}");
    assert!(health.message.contains(&version) && health.message.ends_with('.'));
}

async fn refused(dress: Dress, change: impl FnOnce(&mut AgentOptions)) -> [String; 2] {
    let scene = scene([], |options| {
        dress(options);
        change(options);
    });
    let scene = scene.await;
    let health = scene.agents.health().await;
    assert!(!health.available);
    let prompt = scene
        .agents
        .prompt(scene.incident, ana(), "Hello?".to_owned(), Asked::default())
        .await;
    let Err(PromptError::Unavailable(why)) = prompt else {
        panic!("{prompt:?}")
    };
    [why, health.message]
}

/// Puts another program in the agent's place.
fn replace(options: &mut AgentOptions, program: &Path) {
    match &mut options.kind {
        Kind::Claude => options.command = program.to_owned(),
        Kind::Acp(agent) => agent.command = program.to_owned(),
    }
}

pub(crate) async fn an_agent_that_is_missing_is_a_finding_in_a_sentence(dress: Dress) {
    for told in refused(dress, |options| {
        replace(options, Path::new("no-such-agent"));
    })
    .await
    {
        assert!(
            told.contains("is missing: there is no no-such-agent"),
            "{told}"
        );
        assert!(told.contains("nstall it"), "{told}");
    }
}

pub(crate) async fn an_agent_that_dies_at_once_is_a_finding_with_its_last_words(dress: Dress) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("agent");
    std::fs::write(
        &program,
        "#!/bin/sh\necho libfoo.so is missing >&2\nexit 3\n",
    )
    .unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
    for told in refused(dress, |options| replace(options, &program)).await {
        assert!(told.contains("exit status: 3"), "{told}");
        assert!(told.contains("libfoo.so is missing"), "{told}");
    }
}

pub(crate) async fn a_model_by_its_name_is_the_one_that_answers(dress: Dress) {
    let scene = scene([Reply::text("One."), Reply::text("Two.")], dress).await;
    scene.say("With the usual one.").await;
    let (name, asked) = match &scene.options.kind {
        Kind::Claude => ("opus", "opus"),
        Kind::Acp(agent) if agent.command.ends_with("codex-acp") => ("gpt-5.5", "gpt-5.5"),
        Kind::Acp(_) => ("local/gpt-5.5", "gpt-5.5"),
    };
    let mut watch = scene.watch().await;
    let prompt = "With another.".to_owned();
    let prompted = scene.agents.prompt(
        scene.incident,
        ana(),
        prompt,
        Asked {
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
