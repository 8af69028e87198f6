//! The real claude CLI in its cell, on the drill's machine, with a scripted model behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod common;

use breakglass_rig::claude::claude;
use breakglass_rig::model::{ModelServer, Reply};
use common::{Client, Drill, Events};
use serde_json::json;

/// A drill whose agent is the real CLI, and whose model says `replies`.
async fn drill(replies: Vec<Reply>) -> (ModelServer, Drill) {
    let model = ModelServer::start(replies).await;
    let bin = claude().parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let url = model.url();
    let drill = tokio::task::block_in_place(|| {
        Drill::start_with(&["--agent", "claude"], &[
            ("PATH", &path),
            ("ANTHROPIC_BASE_URL", &url),
            ("ANTHROPIC_API_KEY", "sk-of-the-tests"),
        ])
    });
    (model, drill)
}

fn ask(client: &Client, incident: &str, text: &str) -> Events {
    let events = client.events(incident, 0);
    let answer =
        client.post(&format!("/api/incidents/{incident}/prompts"), &json!({ "text": text }));
    assert_eq!(answer.status, 202, "{answer:?}");
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_cli_reaches_guest_and_gate_through_its_cell() {
    let commands = [Reply::bash("ssh devvm df -h /"), Reply::bash("ssh pve status")];
    let (_model, drill) =
        drill([&commands[..], &[Reply::text("The disk is full.")]].concat()).await;
    tokio::task::block_in_place(|| {
        let client = drill.sign_in();
        let mut events = ask(&client, &client.incident(), "What is wrong?");
        let guest = events.until("tool_finished");
        assert!(guest.data["output"].as_str().unwrap().contains("/dev/vda1"), "{guest:?}");
        let gate = events.until("tool_finished");
        assert!(gate.data["output"].as_str().unwrap().contains("verdict: running"), "{gate:?}");
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_refuses_the_agent_everything_but_a_verb() {
    let (_model, drill) =
        drill(vec![Reply::bash("ssh pve 'status; id'; echo exit $?"), Reply::text("Refused.")]).await;
    tokio::task::block_in_place(|| {
        let client = drill.sign_in();
        let mut events = ask(&client, &client.incident(), "Try it.");
        let refused = events.until("tool_finished");
        let output = refused.data["output"].as_str().unwrap();
        assert!(output.contains("refused") && output.contains("exit 2"), "{output}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cell_holds_no_key() {
    let look = "cat ~/.ssh/* $HOME/../* $HOME/../../* 2>/dev/null; env; ssh-add -L 2>/dev/null; true";
    let (model, drill) = drill(vec![Reply::bash(look), Reply::text("Nothing.")]).await;
    model.forbid("PRIVATE KEY-----");
    tokio::task::block_in_place(|| {
        let client = drill.sign_in();
        let mut events = ask(&client, &client.incident(), "Look for keys.");
        let found = events.until("tool_finished");
        assert!(!found.data.to_string().contains("PRIVATE KEY"), "{found:?}");
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
    });
}
