//! A running server: the checks it runs by itself and on demand, and its reports of changes.

use std::fs;
use std::thread;

use breakglass_rig::model::{ModelServer, Reply};
use serde_json::{Value, json};

use super::deployment::{Deployment, set_mode};
use crate::common::serve::Served;
use crate::common::{Drill, Events, wait_until};

#[test]
fn server_runs_all_checks_at_startup_and_shows_them_in_ready() {
    let served = Served::with_gate();
    let client = served.client();
    let ready = wait_until("the examination ends", || {
        let ready = client.get("/ready").body;
        ready["checks"]["devvm.host.no_shell"]
            .is_object()
            .then_some(ready)
    });
    let check = |name: &str| &ready["checks"][name];
    assert_eq!(check("devvm.host.no_shell")["state"], "green", "{ready:#}");
    assert_eq!(check("devvm.host.no_shell")["ok"], true);
    // The checks before.
    for name in ["store", "agent", "ssh_key", "devvm.ssh", "devvm.vm"] {
        assert!(check(name)["message"].is_string(), "{name}: {ready:#}");
        assert!(check(name)["at"].is_string(), "{name}: {ready:#}");
    }
    // The guest is a gate, which runs no shell commands.
    let shell = check("devvm.guest.shell");
    assert_eq!(
        (&shell["state"], &shell["ok"]),
        (&"red".into(), &false.into()),
        "{shell}"
    );
    assert!(
        shell["remedy"]
            .as_str()
            .unwrap()
            .contains("authorized_keys"),
        "{shell}"
    );
    assert_eq!(ready["ready"], false);
    // For people a red check is an answer, not a failure of the server.
    let shown = client.get("/api/readiness");
    assert_eq!((shown.status, &shown.body["ready"]), (200, &false.into()));
    assert_eq!(client.get("/ready").status, 503);
}

/// The next `count` changes of readiness: check, before, now.
fn changes(events: &mut Events, count: usize) -> Vec<[String; 3]> {
    let word = |data: &Value, key: &str| data[key].as_str().unwrap().to_owned();
    let changed = events.filter(|frame| frame.event == "readiness_changed");
    changed
        .take(count)
        .map(|frame| ["check", "before", "now"].map(|key| word(&frame.data, key)))
        .collect()
}

#[test]
fn changed_check_is_recorded_and_turns_green_after_the_fix() {
    let deployment = Deployment::new();
    let serving = deployment.serve();
    serving.examined();
    let client = &serving.client;
    let opened = client.post("/api/incidents", &json!({ "target": "devvm" }));
    let incident = opened.body["incident"].as_str().unwrap().to_owned();
    let mut events = client.events(&incident, 0);
    set_mode(&deployment.path("key"), 0o644);
    deployment.guest.authorize("");
    let names = ["ssh_key", "devvm.guest.login", "devvm.guest.sudo"];
    // A skipped check is amber and does not count as a change.
    assert_eq!(serving.states(names), ["red", "red", "amber"]);
    let remedy = client.get("/api/readiness").body["checks"]["ssh_key"]["remedy"].clone();
    deployment.carry_out(remedy.as_str().unwrap(), "chmod");
    deployment
        .guest
        .authorize(&format!("{}\n", deployment.public));
    assert_eq!(serving.states(names), ["green"; 3]);
    let expected = [
        ["ssh_key", "green", "red"],
        ["devvm.guest.login", "green", "red"],
        ["ssh_key", "red", "green"],
        ["devvm.guest.login", "red", "green"],
    ];
    assert_eq!(changes(&mut events, 4), expected);
    let report = client
        .bytes(&format!("/api/incidents/{incident}/report.md"))
        .2;
    let report = String::from_utf8(report).unwrap();
    let line = "readiness: `ssh_key` is red, was green";
    assert!(report.contains(line), "{report}");
    assert!(report.contains("→ chmod 600"), "{report}");
}

#[test]
fn changed_check_is_recorded_only_in_open_incidents_of_its_target() {
    let deployment = Deployment::new();
    let config = fs::read_to_string(deployment.path("config.toml")).unwrap();
    let other = config.split_once("[[targets]]").unwrap().1;
    let other = other.replace("devvm", "othervm");
    let host = format!("port = {}", deployment.host.sshd.port);
    // Nothing listens there; a key opens one gate on each host.
    let other = other.replace(&host, "port = 1");
    let other = format!("[[targets]]\nhost_name = \"elsewhere\"{other}");
    deployment.write("config.toml", &format!("{config}{other}"), 0o644);
    let serving = deployment.serve();
    serving.examined();
    let client = &serving.client;
    let [mine, others] = ["devvm", "othervm"].map(|target| {
        let opened = client.post("/api/incidents", &json!({ "target": target }));
        let incident = opened.body["incident"].as_str().unwrap().to_owned();
        client.events(&incident, 0)
    });
    deployment.before_the_gate("exit 1");
    set_mode(&deployment.path("key"), 0o644);
    serving.states(["ssh_key"]);
    let named = |mut events: Events, count| {
        let changed = changes(&mut events, count).into_iter();
        changed.map(|[check, ..]| check).collect::<Vec<_>>()
    };
    assert_eq!(named(others, 1), ["ssh_key"]);
    let mine = named(mine, 2);
    assert_eq!(mine, ["ssh_key", "devvm.host.gate"]);
}

#[test]
fn concurrent_requests_share_one_run_of_the_checks() {
    let deployment = Deployment::new();
    let serving = deployment.serve();
    serving.examined();
    // The server also has its own connection to the host.
    wait_until("the gate is reached", || {
        let checks = serving.client.get("/ready").body["checks"].clone();
        (checks["devvm.vm"]["state"] == "green").then_some(())
    });
    let before = deployment.host.sshd.logins();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(serving.states(["record"]), ["green"]));
        }
    });
    assert_eq!(deployment.host.sshd.logins(), before + 1);
}

#[test]
fn drill_answers_at_once_with_live_checks_only() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    let answer = client.post("/api/readiness/check", &json!({}));
    assert_eq!(answer.status, 200);
    let checks = answer.body["checks"].as_object().unwrap().clone();
    let names: Vec<_> = checks.keys().collect();
    assert_eq!(
        names,
        ["agent", "devvm.ssh", "devvm.vm", "ssh_key", "store"]
    );
}

/// The model's check, after the first run of all checks.
fn model_check(served: &Served) -> Value {
    wait_until("the model's answer is known", || {
        let checks = served.client().get("/ready").body["checks"].clone();
        let known = checks["record"].is_object() && checks["agent.model"].is_object();
        known.then(|| checks["agent.model"].clone())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn model_is_tested_once_per_interval_even_after_a_restart() {
    let model = ModelServer::start([Reply::text("ready"), Reply::text("ready")]).await;
    let url = model.url();
    tokio::task::block_in_place(|| {
        let mut served = Served::with_model_check(&url, 24);
        let first = model_check(&served);
        assert_eq!(first["state"], "green", "{first}");
        served.restart();
        assert_eq!(model_check(&served), first);
        assert_eq!(model.requests().len(), 1);
        let file = served.data_dir().join("model_check.json");
        let mut kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        kept["check"]["at"] = "2025-01-01T00:00:00.000Z".into();
        fs::write(&file, kept.to_string()).unwrap();
        served.restart();
        wait_until("the model is asked again", || {
            (model.requests().len() == 2).then_some(())
        });
        wait_until("its answer is kept", || {
            let renewed = model_check(&served);
            (renewed["at"] != "2025-01-01T00:00:00.000Z").then_some(())
        });
    });
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_model_test_is_repeated_on_request() {
    let model = ModelServer::start([Reply::Status(401), Reply::Status(401)]).await;
    let url = model.url();
    tokio::task::block_in_place(|| {
        let served = Served::with_model_check(&url, 24);
        let refused = model_check(&served);
        assert_eq!(refused["state"], "red", "{refused}");
        wait_until("the agent's login is known to be refused", || {
            let agent = served.client().get("/ready").body["checks"]["agent"].clone();
            let text = agent.to_string();
            (agent["state"] == "red" && text.contains("agent.api_key_file")).then_some(())
        });
        model.then(Reply::text("ready"));
        let client = served.client();
        wait_until("the model answers", || {
            let answer = client.post("/api/readiness/check", &json!({}));
            let check = answer.body["checks"]["agent.model"].clone();
            let agent = &answer.body["checks"]["agent"];
            (check["state"] == "green" && agent["state"] == "green").then_some(())
        });
    });
}
