//! What the log has of a command, and that no command runs without being recorded.

use std::time::Duration;

use breakglass_log::{Log, Options};
use breakglass_model::{Autonomy, CommandMode, CommandStream, EventBody};

use super::scene::{LIMIT, Scene, TURN, ana, err, lives, out, pid_in};

#[tokio::test(flavor = "multi_thread")]
async fn command_is_recorded_with_its_expanded_text_and_tool_call() {
    let scene = Scene::start().await;
    scene.post.tools_run(&["toolu_1"]);
    let mut client = tokio::process::Command::new("sh");
    client.arg("-c").arg(format!(
        "N=hidden; ssh -F {} devvm \"echo $N; exit 4\" < /dev/null",
        scene.config().display()
    ));
    scene.ended(client).await;
    let all = scene.events().await;
    let bodies: Vec<&EventBody> = all.iter().skip(1).map(|event| &event.body).collect();
    let [
        EventBody::CommandStarted {
            turn,
            tool_call,
            host,
            mode,
            text,
            command,
        },
        EventBody::CommandOutput {
            stream,
            text: printed,
            raw,
            ..
        },
        EventBody::CommandFinished {
            command: ended,
            exit_code,
            omitted_bytes,
            ..
        },
    ] = bodies[..]
    else {
        panic!("{bodies:#?}")
    };
    assert_eq!(
        (*turn, tool_call.as_deref(), host.as_str()),
        (TURN, Some("toolu_1"), "devvm")
    );
    assert_eq!(
        (*mode, text.as_str()),
        (CommandMode::Exec, "echo hidden; exit 4")
    );
    assert_eq!(
        (*stream, printed.as_str(), raw),
        (CommandStream::Stdout, "hidden\n", &None)
    );
    assert_eq!((ended, *exit_code, *omitted_bytes), (command, Some(4), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_is_recorded_as_head_tail_and_omitted_count() {
    let scene = Scene::start().await;
    let ran = scene
        .ssh(&["devvm", "echo first; seq 1 200000; echo last"])
        .await;
    assert!(ran.status.success() && out(&ran).len() > 1_000_000);
    let recorded = scene.recorded(CommandStream::Stdout).await;
    assert!(recorded.starts_with("first\n1\n2\n") && recorded.ends_with("200000\nlast\n"));
    assert!(recorded.len() < 70_000, "{}", recorded.len());
    let EventBody::CommandFinished { omitted_bytes, .. } = scene.last_end().await else {
        unreachable!()
    };
    let passed = (recorded.len() as u64, ran.stdout.len() as u64);
    assert_eq!(omitted_bytes + passed.0, passed.1);
    scene
        .event(|body| matches!(body, EventBody::Notice { code, .. } if code == "command_output_bounded"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_output_is_escaped_and_its_bytes_are_kept() {
    let scene = Scene::start().await;
    scene.ssh(&["devvm", "printf '\\033]0;owned\\007'"]).await;
    let shown = scene.recorded(CommandStream::Stdout).await;
    assert_eq!(shown, "␛]0;owned␇");
    let bytes = scene
        .event(|body| matches!(body, EventBody::CommandOutput { raw: Some(raw), .. } if raw == "G10wO293bmVkBw=="))
        .await;
    assert!(bytes.seq > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn command_that_cannot_be_recorded_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options {
        max_bytes: 600 * 1024,
        ..Options::at(dir.path().join("record.db"))
    });
    let scene = Scene::over(Autonomy::Autonomous, log, |_| {}).await;
    fill(&scene).await;
    let sentinel = scene.file("ran");
    let command = format!("touch {}", sentinel.display());
    let ran = scene.ssh(&["devvm", &command]).await;
    assert_eq!(ran.status.code(), Some(255), "{ran:?}");
    assert!(err(&ran).contains("can't be recorded"), "{ran:?}");
    assert!(!sentinel.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn running_command_is_ended_if_the_log_fails() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(Options {
        max_bytes: 600 * 1024,
        ..Options::at(dir.path().join("record.db"))
    });
    let scene = Scene::over(Autonomy::Autonomous, log, |_| {}).await;
    let sentinel = scene.file("pid");
    let command = format!(
        "echo $$ > {}; while :; do echo tick; sleep 0.1; done",
        sentinel.display()
    );
    let args = ["devvm", command.as_str()];
    let (ran, ()) = tokio::join!(scene.ssh(&args), async {
        scene
            .event(|body| matches!(body, EventBody::CommandOutput { .. }))
            .await;
        fill(&scene).await;
    });
    assert!(err(&ran).contains("recorded"), "{ran:?}");
    let pid = pid_in(&sentinel).await;
    let gone = async {
        while lives(pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone)
        .await
        .expect("it is ended");
}

/// Appends until the log takes no more.
async fn fill(scene: &Scene) {
    for size in [100_000, 2_000, 1] {
        let text = "x".repeat(size);
        let body = || EventBody::Text {
            turn: TURN,
            text: text.clone(),
        };
        let append = || scene.log.append(scene.incident, ana(), body());
        while append().await.is_ok() {}
    }
}

/// The tool call of each command, by the command's text.
async fn put_down(scene: &Scene) -> Vec<(String, Option<String>)> {
    let all = scene.events().await;
    let started = all.into_iter().filter_map(|event| match event.body {
        EventBody::CommandStarted {
            text, tool_call, ..
        } => Some((text, tool_call)),
        _ => None,
    });
    started.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_concurrent_calls_are_recorded_with_their_own_call() {
    let scene = Scene::start().await;
    scene.post.tools_run(&["t1", "t2"]);
    let run = |call: Option<&'static str>, text: &'static str| {
        let mut client = scene.client("ssh");
        client.args(["devvm", text]);
        match call {
            Some(call) => client.env("BREAKGLASS_CALL", call),
            None => client.env_remove("BREAKGLASS_CALL"),
        };
        scene.ended(client)
    };
    let both = tokio::join!(run(Some("t1"), "echo one"), run(Some("t2"), "echo two"));
    assert_eq!(
        (out(&both.0), out(&both.1)),
        ("one\n".into(), "two\n".into())
    );
    // Its call can't be known and is not recorded.
    run(None, "echo whose").await;
    run(Some("t9"), "echo of none").await;
    scene.post.tools_run(&["t2"]);
    // A command that outlasts its call still has the call's id.
    run(Some("t1"), "echo late").await;
    run(None, "echo only").await;
    let mut seen = put_down(&scene).await;
    seen.sort();
    let expected = [
        ("echo late", Some("t1")),
        ("echo of none", None),
        ("echo one", Some("t1")),
        ("echo only", Some("t2")),
        ("echo two", Some("t2")),
        ("echo whose", None),
    ];
    let expected = expected.map(|(text, call)| (text.to_owned(), call.map(str::to_owned)));
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_call_id_does_not_reach_the_guest() {
    let scene = Scene::start().await;
    scene.post.tools_run(&["t1"]);
    let mut client = scene.client("ssh");
    client.args(["devvm", "env"]).env("BREAKGLASS_CALL", "t1");
    let printed = scene.ended(client).await;
    assert!(!out(&printed).contains("BREAKGLASS_CALL"));
}
