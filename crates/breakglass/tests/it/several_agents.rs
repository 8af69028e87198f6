//! Several agents behind one server, each in its sandbox: the real claude CLI, codex-acp and opencode, a real
//! sshd as the guest, scripted models.

use std::path::Path;

use crate::common::serve::Served;
use crate::common::{Client, Events, wait_until};
use breakglass_rig::acp;
use breakglass_rig::model::{ModelServer, Reply};
use serde_json::{Value, json};

/// The tables of both other agents, whose model is at `url` and whose key is in the file `key`.
fn others(url: &str, key: &Path) -> String {
    let (there, key) = (url.trim_start_matches("http://"), key.display());
    let opencode = json!({
        "model": "local/scripted",
        "provider": {"local": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "local",
            "options": {"baseURL": format!("{url}/v1"), "apiKey": "{env:LOCAL_KEY}"},
            "models": {"scripted": {}},
        }},
        "agent": {"title": {"disable": true}},
    });
    let provider = format!(
        "model_providers.local={{name=\"local\",base_url=\"{url}/v1\",wire_api=\"responses\",\
         env_key=\"CODEX_API_KEY\",request_max_retries=0,stream_max_retries=1}}"
    );
    let codex = ["model=\"gpt-5.4\"", "model_provider=\"local\"", &provider];
    let codex: Vec<String> = codex
        .iter()
        .flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()])
        .collect();
    let text = |value: &Value| serde_json::to_string(value).unwrap();
    format!(
        "[[agents]]\nname = \"opencode\"\ncommand = {}\nargs = [\"acp\"]\negress = [\"{there}\"]\n\
         api_key_file = \"{key}\"\napi_key_variable = \"LOCAL_KEY\"\nenvironment = [{}]\n\
         [[agents]]\nname = \"codex\"\ncommand = {}\nargs = {}\negress = [\"{there}\"]\n\
         api_key_file = \"{key}\"\napi_key_variable = \"CODEX_API_KEY\"\n",
        text(&json!(acp::opencode())),
        text(&json!(format!("OPENCODE_CONFIG_CONTENT={opencode}"))),
        text(&json!(acp::codex())),
        text(&json!(codex)),
    )
}

/// A server with all three agents: the claude CLI's model sends `first`, that of the others `replies`.
async fn served(
    first: Vec<Reply>,
    replies: Vec<Reply>,
    prelude: &str,
) -> (ModelServer, ModelServer, Served) {
    let (model, local) = (
        ModelServer::start(first).await,
        ModelServer::start(replies).await,
    );
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "sk-of-the-others").unwrap();
    let more = others(&local.url(), key.path());
    let url = model.url();
    let served = tokio::task::block_in_place(|| Served::with_agent_and(&url, &more, prelude));
    (model, local, served)
}

fn open(client: &Client) -> String {
    let opened = client.post("/api/incidents", &json!({ "target": "devvm" }));
    assert_eq!(opened.status, 201, "{opened:?}");
    opened.body["incident"].as_str().unwrap().to_owned()
}

fn ask(client: &Client, incident: &str, agent: &str) -> Events {
    let path = format!("/api/incidents/{incident}");
    let head = client.get(&path).body["head"].as_u64().unwrap();
    let events = client.events(incident, head);
    let body = json!({ "text": "What is wrong with it?", "agent": agent });
    let taken = client.post(&format!("/api/incidents/{incident}/prompts"), &body);
    assert_eq!(taken.status, 202, "{taken:?}");
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn each_agent_reaches_the_guest_through_the_bastion_from_its_own_sandbox() {
    let look = || Reply::bash("ssh devvm 'echo from the guest'; cat /proc/1/comm; ls /root 2>&1");
    let replies = vec![look(), Reply::text("Seen."), look(), Reply::text("Seen.")];
    let (_model, _local, served) = served(Vec::new(), replies, "").await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let agents = client.get("/api/me").body["agents"].clone();
        let names: Vec<_> = agents
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].clone())
            .collect();
        assert_eq!(names, ["claude", "opencode", "codex"]);
        let incident = open(&client);
        for name in ["opencode", "codex"] {
            let mut events = ask(&client, &incident, name);
            assert_eq!(events.until("turn_started").data["agent"], name);
            let command = events.until("command_started");
            assert_eq!(command.data["text"], "echo from the guest", "{name}");
            let done = events.until("tool_finished");
            let output = done.data["output"].as_str().unwrap();
            assert!(output.contains("from the guest"), "{name}: {output}");
            assert!(
                !output.contains("init\n") && !output.contains(".ssh"),
                "{name}: {output}"
            );
            assert_eq!(events.until("turn_ended").data["outcome"], "done", "{name}");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn fallback_answers_if_the_first_agents_model_is_down() {
    let down = vec![Reply::Status(529), Reply::Status(529)];
    let prelude = "export BREAKGLASS_AGENT__FALLBACK=opencode BREAKGLASS_AGENT__MAX_API_RETRIES=1;";
    let (_model, local, served) =
        served(down, vec![Reply::text("The disk is full.")], prelude).await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open(&client);
        let mut events = ask(&client, &incident, "claude");
        assert_eq!(events.until("turn_ended").data["outcome"], "failed");
        assert_eq!(events.until("turn_started").data["agent"], "opencode");
        assert_eq!(events.until("text").data["text"], "The disk is full.");
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
    });
    assert!(
        local.requests()[0]
            .text()
            .contains("What is wrong with it?")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sandbox_of_one_agent_cannot_reach_the_model_of_another() {
    let (model, local, served) = served(Vec::new(), Vec::new(), "").await;
    let other = model.url().trim_start_matches("http://").to_owned();
    local.then(Reply::bash(&format!(
        "curl -sS -m 20 http://{other}/ -o /dev/null -w '%{{http_code}}'"
    )));
    local.then(Reply::text("Refused."));
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open(&client);
        let mut events = ask(&client, &incident, "opencode");
        // It tries to reach other hosts by itself at startup.
        loop {
            let refused = events.until("notice");
            assert_eq!(refused.data["code"], "egress_refused");
            if refused.data["message"].as_str().unwrap().contains(&other) {
                break;
            }
        }
        assert_eq!(events.until("turn_ended").data["outcome"], "done");
    });
    assert!(model.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_agent_or_model_is_refused_with_the_allowed_ones() {
    let (_model, _local, served) = served(Vec::new(), Vec::new(), "").await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        let incident = open(&client);
        let path = format!("/api/incidents/{incident}/prompts");
        for (agent, model) in [("third", "default"), ("opencode", "sonnet")] {
            let body = json!({ "text": "Look.", "agent": agent, "model": model });
            let refused = client.post(&path, &body);
            assert_eq!(refused.status, 422, "{refused:?}");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_shows_whether_each_agent_starts() {
    let (_model, _local, served) = served(Vec::new(), Vec::new(), "").await;
    tokio::task::block_in_place(|| {
        let client = served.client();
        for name in ["agent.opencode", "agent.codex"] {
            let check = wait_until("the check is there", || {
                let all = client.get("/api/readiness").body;
                all["checks"].get(name).cloned()
            });
            assert_eq!(check["state"], "green", "{check}");
        }
    });
}
