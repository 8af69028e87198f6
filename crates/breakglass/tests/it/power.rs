//! The power path on real parts: HTTP and command line, a real sshd, the real gate.

use std::io::Write as _;
use std::net::TcpStream;

use crate::common::serve::Served;
use crate::common::{run, wait_until};
use serde_json::json;

#[test]
fn cycle_over_http_starts_a_new_process_with_verdict_running() {
    let served = Served::with_gate();
    let before = served.host().qemu();
    let result = served.client().verb("cycle");
    assert_eq!(result.body["outcome"], "done", "{result:?}");
    assert_eq!(result.body["verdict"], "running");
    assert_ne!(served.host().qemu(), before);
}

#[test]
fn command_line_reaches_the_gate_through_the_server() {
    let served = Served::with_gate();
    let args = [
        "status",
        "--server",
        &served.base,
        "--token-file",
        &served.token_file(),
    ];
    let (code, text) = run(&args);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("verdict: running"), "{text}");
}

#[test]
fn command_line_reaches_the_gate_without_a_server() {
    let served = Served::with_gate();
    let config = served.config_file();
    let (code, text) = run(&["cycle", "--direct", "--config", &config]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("verdict: running"), "{text}");
}

#[test]
fn unreachable_host_is_exit_four_with_a_remedy() {
    let mut served = Served::with_gate();
    served.host_mut().sshd.kill();
    let config = served.config_file();
    let (code, text) = run(&["status", "--direct", "--config", &config]);
    assert_eq!(code, Some(4), "{text}");
}

#[test]
fn same_idempotency_key_never_cycles_twice() {
    let served = Served::with_gate();
    let client = served.client();
    let path = "/api/targets/devvm/verbs/cycle?wait=true";
    let first = client.post_with_key(path, &json!({}), "key-1");
    let second = client.post_with_key(path, &json!({}), "key-1");
    assert_eq!(
        first.body["operation"], second.body["operation"],
        "{second:?}"
    );
    assert_eq!(served.host().count("stop"), 1);
}

#[test]
fn second_mutating_verb_is_refused_with_the_running_operation() {
    let served = Served::with_gate();
    served.host().set("held-stop", "");
    let client = served.client();
    let first = client.post("/api/targets/devvm/verbs/cycle", &json!({}));
    assert_eq!(first.status, 202, "{first:?}");
    let second = client.post("/api/targets/devvm/verbs/stop", &json!({}));
    assert_eq!(second.status, 409, "{second:?}");
    assert_eq!(second.body["operation"], first.body["operation"]);
}

#[test]
fn same_idempotency_key_does_not_cycle_again_after_a_restart() {
    let mut served = Served::with_gate();
    let path = "/api/targets/devvm/verbs/cycle?wait=true";
    let first = served.client().post_with_key(path, &json!({}), "key-1");
    assert_eq!(first.body["outcome"], "done", "{first:?}");
    served.restart();
    let again = served.client().post_with_key(path, &json!({}), "key-1");
    assert_eq!(again.status, 202, "{again:?}");
    assert_eq!(again.body["operation"], first.body["operation"]);
    assert_eq!(again.body["replayed"], true);
    assert_eq!(served.host().count("stop"), 1);
}

#[test]
fn verb_continues_after_the_waiting_client_disconnects() {
    let served = Served::with_gate();
    served.host().set("held-stop", "");
    let client = served.client();
    let mut waiting = TcpStream::connect(served.base.trim_start_matches("http://")).unwrap();
    let request = format!(
        "POST /api/targets/devvm/verbs/cycle?wait=true HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: {}\r\nContent-Length: 0\r\n\r\n",
        client.authorization()
    );
    waiting.write_all(request.as_bytes()).unwrap();
    let running = wait_until("the verb runs", || {
        let target = client.get("/api/targets/devvm").body;
        Some(
            target["running_operation"]["operation"]
                .as_str()?
                .to_owned(),
        )
    });
    drop(waiting);
    served.host().unset("held-stop");
    let outcome = wait_until("the verb ends", || {
        let view = client.get(&format!("/api/operations/{running}")).body;
        Some(view["outcome"].as_str()?.to_owned())
    });
    assert_eq!(outcome, "done");
}

#[test]
fn incident_closes_only_after_its_verb_and_has_its_result() {
    let served = Served::with_gate();
    served.host().set("held-stop", "");
    let client = served.client();
    let begun = client.post("/api/targets/devvm/verbs/cycle", &json!({}));
    let incident = begun.body["incident"].as_str().unwrap();
    let close = || client.post(&format!("/api/incidents/{incident}/close"), &json!({}));
    let refused = close();
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(refused.body["operation"], begun.body["operation"]);
    served.host().unset("held-stop");
    wait_until("it can be closed", || (close().status == 204).then_some(()));
    let kinds: Vec<String> = client
        .events(incident, 0)
        .map(|frame| frame.event)
        .collect();
    let at = |kind| kinds.iter().position(|event| event == kind).unwrap();
    assert!(at("verb_finished") < at("incident_closed"), "{kinds:?}");
}

#[test]
fn unknown_verb_reaches_neither_ssh_nor_the_gate() {
    let served = Served::with_gate();
    let client = served.client();
    assert_eq!(client.verb("status;id").status, 404);
    // The gate logs every request, including those of the vital signs.
    assert_eq!(client.verb("status").body["outcome"], "done");
    let log = served.host().host_log();
    assert!(log.contains("request=\"status\""), "{log}");
    assert!(!log.contains(";id"), "{log}");
}
