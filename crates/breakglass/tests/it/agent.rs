//! The real claude CLI in its cell, on the drill's machine, with a scripted model behind it.

use crate::common::{Client, Drill, Events, wait_until};
use breakglass_rig::claude::claude;
use breakglass_rig::model::{ModelServer, Reply};

/// A drill whose agent is the real CLI, with a model that sends `replies`.
async fn drill(replies: Vec<Reply>) -> (ModelServer, Drill) {
    let model = ModelServer::start(replies).await;
    let drill = drill_with(&model, &[]);
    (model, drill)
}

/// A drill whose agent is the real CLI and whose model is `model`.
fn drill_with(model: &ModelServer, args: &[&str]) -> Drill {
    let bin = claude().parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let environment = [
        ("PATH", path.as_str()),
        ("ANTHROPIC_BASE_URL", &model.url()),
        ("ANTHROPIC_API_KEY", "sk-of-the-tests"),
    ];
    let args = [&["--agent", "claude"], args].concat();
    tokio::task::block_in_place(|| Drill::start_with(&args, &environment))
}

/// Prompts an agent that acts without asking.
fn ask_unasked(client: &Client, text: &str) -> Events {
    let incident = client.incident();
    client.let_act(&incident);
    client.ask(&incident, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_cli_reaches_guest_and_gate_from_its_cell() {
    let commands = [
        Reply::bash("ssh devvm df -h /"),
        Reply::bash("ssh pve status"),
    ];
    let (_model, drill) =
        drill([&commands[..], &[Reply::text("The disk is full.")]].concat()).await;
    tokio::task::block_in_place(|| {
        let client = drill.sign_in();
        let mut events = client.ask(&client.incident(), "What is wrong?");
        let guest = events.until("tool_finished");
        assert!(
            guest.data["output"].as_str().unwrap().contains("/dev/vda1"),
            "{guest:?}"
        );
        let gate = events.until("tool_finished");
        assert!(
            gate.data["output"]
                .as_str()
                .unwrap()
                .contains("verdict: running"),
            "{gate:?}"
        );
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn gate_refuses_the_agent_everything_but_verbs() {
    let (_model, drill) = drill(vec![
        Reply::bash("ssh pve 'status; id'; echo exit $?"),
        Reply::text("Refused."),
    ])
    .await;
    tokio::task::block_in_place(|| {
        let client = drill.sign_in();
        let mut events = ask_unasked(&client, "Try it.");
        let refused = events.until("tool_finished");
        let output = refused.data["output"].as_str().unwrap();
        assert!(
            output.contains("refused") && output.contains("exit 2"),
            "{output}"
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn cell_contains_no_key() {
    let look = "cat ~/.ssh/* $HOME/../* $HOME/../../* $HOME/../../../* 2>/dev/null; env; ssh-add -L 2>/dev/null; true";
    let (model, drill) = drill(vec![Reply::bash(look), Reply::text("Nothing.")]).await;
    model.forbid("PRIVATE KEY-----");
    tokio::task::block_in_place(|| {
        let client = drill.sign_in();
        let mut events = ask_unasked(&client, "Look for keys.");
        let found = events.until("tool_finished");
        assert!(!found.data.to_string().contains("PRIVATE KEY"), "{found:?}");
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxed_tool_does_not_survive_a_killed_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let mark = format!("300.{}", std::process::id());
    let tool = format!("setsid sleep {mark} & wait");
    let model = ModelServer::start(vec![Reply::bash(&tool)]).await;
    let drill = drill_with(&model, &["--data-dir", &data]);
    tokio::task::block_in_place(|| {
        let client = drill.sign_in();
        let _events = ask_unasked(&client, "Work.");
        wait_until("the tool runs", || running(&mark));
    });
    drill.kill();
    tokio::task::block_in_place(|| {
        wait_until("the tool is gone", || {
            running(&mark).is_none().then_some(())
        });
    });
    let drill = drill_with(&model, &["--data-dir", &data]);
    tokio::task::block_in_place(|| {
        let client = drill.sign_in();
        let ended = client.events(&client.incident(), 0).until("turn_ended");
        assert_eq!(ended.data["outcome"], "interrupted", "{ended:?}");
    });
}

/// The process of `sleep` with this argument.
fn running(argument: &str) -> Option<u32> {
    let command = format!("sleep\0{argument}\0").into_bytes();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.find(|id| std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|it| it == command))
}

#[test]
fn missing_cli_is_reported_everywhere_and_power_works() {
    let drill = Drill::start_with(&["--agent", "claude"], &[("PATH", "/nowhere")]);
    let client = drill.sign_in();
    let agent = client.get("/api/me").body["agent"].clone();
    let message = agent["message"].as_str().unwrap();
    assert!(
        message.contains("missing") && message.contains("agent.command"),
        "{message}"
    );
    let ready = client.get("/ready");
    assert_eq!(ready.body["checks"]["agent"]["message"], agent["message"]);
    let mut events = client.events(&client.incident(), 0);
    let notice = events
        .find(|frame| frame.data["code"] == "agent_unavailable")
        .unwrap();
    assert_eq!(notice.data["message"], agent["message"]);
    assert_eq!(client.verb("cycle").body["outcome"], "done");
}
