//! A running server: what it examines by itself and on demand, and what it tells of a change.

use std::fs;
use std::thread;

use breakglass_rig::model::{ModelServer, Reply};
use serde_json::{Value, json};

use super::deployment::{Deployment, set_mode};
use crate::common::serve::Served;
use crate::common::{Drill, Events, wait_until};

#[test]
fn a_server_examines_everything_at_its_start_and_says_so_in_ready() {
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
    // What was there before.
    for name in ["store", "agent", "ssh_key", "devvm.ssh", "devvm.vm"] {
        assert!(check(name)["message"].is_string(), "{name}: {ready:#}");
        assert!(check(name)["at"].is_string(), "{name}: {ready:#}");
    }
    // Its guest is a gate, which runs no command of a shell.
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
    // For people it is an answer, and not a failure of the server.
    let shown = client.get("/api/readiness");
    assert_eq!((shown.status, &shown.body["ready"]), (200, &false.into()));
    assert_eq!(client.get("/ready").status, 503);
}

/// The next `count` changes of readiness: check, before, now.
fn changes(events: &mut Events, count: usize) -> Vec<[String; 3]> {
    let word = |data: &Value, key: &str| data[key].as_str().unwrap().to_owned();
    let told = events.filter(|frame| frame.event == "readiness_changed");
    told.take(count)
        .map(|frame| ["check", "before", "now"].map(|key| word(&frame.data, key)))
        .collect()
}

#[test]
fn a_change_is_an_event_and_what_is_mended_turns_green_without_a_restart() {
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
    // What could not be tried is amber, and no change.
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
fn a_change_concerns_the_open_incidents_of_its_target_alone() {
    let deployment = Deployment::new();
    let config = fs::read_to_string(deployment.path("config.toml")).unwrap();
    let other = config.split_once("[[targets]]").unwrap().1;
    let other = other.replace("devvm", "othervm");
    let host = format!("port = {}", deployment.host.sshd.port);
    // Nobody listens there; a key opens one gate on each host.
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
        let told = changes(&mut events, count).into_iter();
        told.map(|[check, ..]| check).collect::<Vec<_>>()
    };
    assert_eq!(named(others, 1), ["ssh_key"]);
    let mine = named(mine, 2);
    assert_eq!(mine, ["ssh_key", "devvm.host.gate"]);
}

#[test]
fn who_asks_at_the_same_time_shares_one_examination() {
    let deployment = Deployment::new();
    let serving = deployment.serve();
    serving.examined();
    // The server's own connection to the host stands, too.
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
fn a_drill_is_not_examined_and_answers_at_once_with_what_is_live() {
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

/// What readiness knows of the model, once everything was examined.
fn model_check(served: &Served) -> Value {
    wait_until("the model's answer is known", || {
        let checks = served.client().get("/ready").body["checks"].clone();
        let known = checks["record"].is_object() && checks["agent.model"].is_object();
        known.then(|| checks["agent.model"].clone())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_is_asked_once_an_interval_and_not_anew_by_a_server_started_again() {
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
async fn a_model_that_gave_no_answer_is_asked_again_by_who_wants_to_know() {
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
