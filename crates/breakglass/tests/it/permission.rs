//! Operator control over the real claude CLI: approvals, autonomy, Stop, cut-off. Real server,
//! real sshd as the guest, real gate, scripted model.

use std::path::Path;

use crate::common::serve::Served;
use crate::common::{Client, Events, Sse, wait_until};
use breakglass_model::clock;
use breakglass_rig::model::{ModelServer, Reply};
use serde_json::{Value, json};

/// A server whose agent is the real CLI, with a model that sends `replies`.
async fn served(replies: Vec<Reply>) -> (ModelServer, Served) {
    let model = ModelServer::start(replies).await;
    let url = model.url();
    let served = tokio::task::block_in_place(|| Served::with_agent(&url));
    (model, served)
}

fn open(client: &Client) -> String {
    let opened = client.post("/api/incidents", &json!({ "target": "devvm" }));
    assert_eq!(opened.status, 201, "{opened:?}");
    opened.body["incident"].as_str().unwrap().to_owned()
}

/// An incident whose agent must ask before it changes anything.
fn open_and_ask_first(client: &Client) -> String {
    let incident = open(client);
    let setting = json!({ "autonomy": "approve-mutations" });
    set(client, &incident, "autonomy", &setting);
    incident
}

fn set(client: &Client, incident: &str, what: &str, body: &Value) {
    let path = format!("/api/incidents/{incident}/{what}");
    let answer = client.post(&path, body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn question(events: &mut Events) -> Sse {
    events.until("approval_requested")
}

fn decide(client: &Client, incident: &str, question: &Sse, body: &Value) -> u16 {
    client.decide(incident, question, body)
}

fn pid_in(path: &Path) -> u32 {
    wait_until("the command runs on the guest", || {
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    })
}

fn lives(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread")]
async fn command_is_recorded_expanded_with_its_tool_call() {
    let call = "W=world; ssh devvm \"echo hello $W\"";
    let (_model, served) = served(vec![Reply::bash(call), Reply::text("Done.")]).await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open(&client);
        let mut events = client.ask(&incident, "Greet it.");
        let tool = events.until("tool_started");
        let command = events.until("command_started");
        assert_eq!(command.data["text"], "echo hello world");
        assert_eq!(command.data["tool_call"], tool.data["tool_call"]);
        assert_eq!(command.data["actor"], "agent");
        assert_eq!(events.until("command_output").data["text"], "hello world\n");
        assert_eq!(events.until("command_finished").data["exit_code"], 0);
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn question_of_the_cli_follows_the_same_policy() {
    let replies = vec![
        Reply::bash("echo mine > ~/file"),
        Reply::text("Understood."),
    ];
    let (model, served) = served(replies).await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open_and_ask_first(&client);
        let mut events = client.ask(&incident, "Write a file.");
        let question = question(&mut events);
        assert_eq!(question.data["place"], "cell");
        // The CLI itself waits until the end of its turn.
        assert!(question.data["expires_at"].is_null(), "{question:?}");
        assert_eq!(question.data["command"], "echo mine > ~/file");
        let deny = json!({ "decision": "deny", "note": "not while I look" });
        assert_eq!(decide(&client, &incident, &question, &deny), 200);
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
        assert_eq!(decide(&client, &incident, &question, &deny), 409);
    });
    let heard = model
        .requests()
        .iter()
        .any(|request| request.text().contains("not while I look"));
    assert!(heard, "the agent hears the reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_command_is_asked_about_once_and_runs_when_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("made");
    let change = format!("touch {}", file.display());
    let call = format!("ssh devvm '{change}'");
    let (_model, served) = served(vec![Reply::bash(&call), Reply::text("Made.")]).await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open_and_ask_first(&client);
        let mut events = client.ask(&incident, "Make it.");
        let question = question(&mut events);
        assert_eq!(question.data["place"], "devvm");
        assert_eq!(question.data["command"], json!(change));
        assert!(!file.exists());
        assert_eq!(
            decide(
                &client,
                &incident,
                &question,
                &json!({ "decision": "allow" })
            ),
            200
        );
        assert_eq!(events.until("command_finished").data["exit_code"], 0);
        assert!(file.exists());
        let asked_again =
            events.find(|frame| frame.event == "approval_requested" || frame.event == "turn_ended");
        assert_eq!(asked_again.unwrap().event, "turn_ended");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_question_expires_at_the_announced_time() {
    let input = json!({ "command": "ssh devvm reboot", "description": "x", "timeout": 6_000 });
    let replies = vec![Reply::tool("Bash", input), Reply::text("Too late.")];
    let (_model, served) = served(replies).await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open_and_ask_first(&client);
        let mut events = client.ask(&incident, "Reboot it.");
        let begun = events.until("tool_started");
        let question = question(&mut events);
        let time = |value: &Value| clock::milliseconds(value.as_str().unwrap()).unwrap();
        let end = time(&question.data["expires_at"]);
        assert_eq!(end - time(&begun.data["at"]), 6_000);
        let decided = events.until("approval_decided");
        assert_eq!(decided.data["decision"], "void");
        // Not earlier, and afterwards as soon as the machine has time.
        assert!(time(&decided.data["at"]) > end - 500, "{decided:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_the_guests_process_and_reports_it_before_the_turn_ends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let call = format!(
        "ssh devvm 'echo $$ > {}; trap \"\" TERM HUP; while :; do sleep 1; done'",
        file.display()
    );
    let (_model, served) = served(vec![Reply::bash(&call)]).await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open(&client);
        let mut events = client.ask(&incident, "Work.");
        let pid = pid_in(&file);
        let stopped = client.post(&format!("/api/incidents/{incident}/stop"), &json!({}));
        assert_eq!(stopped.body["stopped"], true);
        assert!(!lives(pid));
        let finished = events.until("command_finished");
        let message = finished.data["message"].as_str().unwrap();
        assert!(
            message.contains("none of its processes is left on devvm"),
            "{message}"
        );
        assert_eq!(events.until("turn_ended").data["outcome"], "stopped");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn question_open_at_a_crash_is_void_after_the_restart() {
    let (_model, mut served) = served(vec![Reply::bash("ssh devvm reboot")]).await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open_and_ask_first(&client);
        let question = question(&mut client.ask(&incident, "Reboot."));
        served.restart();
        let client = served.client();
        let mut events = client.events(&incident, 0);
        let void = events.until("approval_decided");
        assert_eq!(void.data["decision"], "void");
        assert_eq!(events.until("turn_ended").data["outcome"], "interrupted");
        let late = json!({ "decision": "allow" });
        assert_eq!(decide(&client, &incident, &question, &late), 409);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_agent_reaches_nothing_while_power_and_checks_work() {
    let replies = vec![
        Reply::bash("ssh devvm uptime; ssh pve status"),
        Reply::text("Cut off."),
    ];
    let model = ModelServer::start(replies).await;
    // Without a sandbox the server can't block the model.
    let no_sandbox = "export BREAKGLASS_AGENT__SANDBOX=none;";
    let served =
        tokio::task::block_in_place(|| Served::with_agent_and(&model.url(), "", no_sandbox));
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open(&client);
        set(&client, &incident, "cut-off", &json!({ "cut_off": true }));
        let mut events = client.ask(&incident, "Look.");
        for host in ["devvm", "pve"] {
            let finished = events.until("command_finished");
            let message = finished.data["message"].as_str().unwrap();
            assert!(message.contains("cut the agent off"), "{host}: {message}");
        }
        assert_eq!(client.verb("status").body["outcome"], "done");
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_blocks_the_model_and_ends_the_turn_with_a_reason() {
    let replies = vec![
        Reply::bash("ssh devvm 'echo begun; sleep 60'"),
        Reply::text("Here again."),
    ];
    let (model, served) = served(replies).await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open(&client);
        let mut events = client.ask(&incident, "Work.");
        events.until("command_output");
        set(&client, &incident, "cut-off", &json!({ "cut_off": true }));
        let says_so = |ended: &Value| {
            let reason = ended["reason"].as_str().unwrap_or_default();
            assert!(
                reason.contains("cut the agent off, and with it its model's API"),
                "{ended}"
            );
            assert_eq!(ended["outcome"], "interrupted", "{ended}");
        };
        says_so(&events.until("turn_ended").data);
        let asked = model.requests().len();
        client.prompt(&incident, "And now?");
        says_so(&events.until("turn_ended").data);
        assert_eq!(model.requests().len(), asked);
        assert_eq!(client.verb("status").body["outcome"], "done");
        set(&client, &incident, "cut-off", &json!({ "cut_off": false }));
        client.prompt(&incident, "Go on.");
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
    });
}
