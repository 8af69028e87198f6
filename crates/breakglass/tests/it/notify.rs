//! Notifications from the real server to working and failing receivers.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::receiver::{Does, Heard, Receiver, TAKES, section};
use crate::common::serve::Served;
use crate::common::{Client, run, wait_until};
use breakglass_rig::model::{ModelServer, Reply};
use breakglass_rig::port::own_address;
use rusqlite::Connection;
use serde_json::{Value, json};

/// Configures notifications of finished verbs only.
const VERBS: &str = "events = [\"verb_ended\"]";

fn cycle(served: &Served) {
    let result = served.client().verb("cycle");
    assert_eq!(result.body["outcome"], "done", "{result:?}");
}

fn open(client: &Client) -> String {
    let opened = client.post("/api/incidents", &json!({ "target": "devvm" }));
    opened.body["incident"].as_str().unwrap().to_owned()
}

/// The status of a receiver in the API.
fn status(client: &Client, name: &str) -> Value {
    let receivers = client.get("/api/notifications").body["receivers"].clone();
    let mut receivers = receivers.as_array().unwrap().iter();
    let found = receivers.find(|receiver| receiver["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}")).clone()
}

/// Waits until a field of a receiver's status has this value.
fn counts(client: &Client, name: &str, field: &str, number: u64) -> Value {
    wait_until(&format!("{name} has {number} {field}"), || {
        Some(status(client, name)).filter(|status| status[field] == number)
    })
}

/// Waits until the check of a receiver has this state.
fn check(client: &Client, name: &str, state: &str) -> Value {
    wait_until(&format!("notify.{name} is {state}"), || {
        let check = client.get("/ready").body["checks"][format!("notify.{name}")].clone();
        Some(check).filter(|check| check["state"] == state)
    })
}

fn ids(heard: &[Heard]) -> HashSet<&str> {
    heard
        .iter()
        .map(|one| one.header("idempotency-key").unwrap())
        .collect()
}

#[test]
fn finished_mutating_verb_is_notified_once_with_verdict_and_link() {
    let receiver = Receiver::start(|_| TAKES);
    let more = format!("headers = [\"X-Team: night\"]\n{VERBS}");
    let more = format!("{}[notifications]\n", receiver.section("phone", &more));
    let served = Served::with_gate_and(&more, "BREAKGLASS_PUBLIC_URL=https://rescue.example.org");
    served.client().verb("status");
    cycle(&served);
    let notification = &receiver.hears(1)[0];
    assert_eq!(notification.body["kind"], "verb_ended");
    assert_eq!(notification.body["title"], "devvm: cycle is done");
    assert_eq!(notification.body["level"], "info");
    assert!(
        notification.body["text"]
            .as_str()
            .unwrap()
            .contains("Verdict: running"),
        "{notification:?}"
    );
    let incident = served.client().incident();
    let link = format!("https://rescue.example.org/#/incident/{incident}");
    assert_eq!(notification.body["link"], link);
    assert_eq!(
        notification.header("idempotency-key"),
        notification.body["id"].as_str()
    );
    assert_eq!(
        (notification.path.as_str(), notification.header("x-team")),
        ("/hook", Some("night"))
    );
    let status = counts(&served.client(), "phone", "delivered", 1);
    assert_eq!(
        (&status["waiting"], &status["missed"]),
        (&json!(0), &json!(0))
    );
    check(&served.client(), "phone", "green");
    cycle(&served);
    assert_eq!(ids(&receiver.hears(2)).len(), 2);
}

#[test]
fn failed_delivery_is_retried_with_the_same_id() {
    let receiver = Receiver::start(|number| match number {
        0 => Does::Answers("500 Internal Server Error\r\n"),
        1 => Does::Answers("429 Too Many Requests\r\nretry-after: 2\r\n"),
        _ => TAKES,
    });
    let served = Served::with_gate_and(&receiver.section("phone", VERBS), "");
    cycle(&served);
    let heard = receiver.hears(3);
    assert_eq!(ids(&heard).len(), 1);
    assert!(heard[2].at - heard[1].at >= Duration::from_secs(2));
    let status = counts(&served.client(), "phone", "delivered", 1);
    assert_eq!(status["failures"], 0);
    assert_eq!(status["last_error"]["message"], "it answered 429");
}

#[test]
fn permanent_refusal_is_not_retried_and_turns_the_check_red() {
    let receiver = Receiver::start(|number| match number {
        0 => Does::Answers("410 Gone\r\n"),
        1 => Does::Answers("302 Found\r\nlocation: http://127.0.0.1:1/\r\n"),
        _ => TAKES,
    });
    let served = Served::with_gate_and(&receiver.section("phone", VERBS), "");
    let client = served.client();
    cycle(&served);
    counts(&client, "phone", "given_up", 1);
    let red = check(&client, "phone", "red");
    assert!(
        red["message"].as_str().unwrap().contains("it answered 410"),
        "{red}"
    );
    assert!(
        red["remedy"].as_str().unwrap().contains("notify test"),
        "{red}"
    );
    cycle(&served);
    let status = counts(&client, "phone", "given_up", 2);
    let message = status["last_error"]["message"].as_str().unwrap();
    assert!(
        message.contains("302; redirects are not followed"),
        "{message}"
    );
    cycle(&served);
    counts(&client, "phone", "delivered", 1);
    check(&client, "phone", "green");
    assert_eq!(ids(&receiver.heard()).len(), 3);
}

#[test]
fn silent_receiver_delays_neither_others_nor_verbs() {
    let [hung, flooding, prompt] =
        [Does::Hangs, Does::FloodsHead, TAKES].map(|does| Receiver::start(move |_| does.clone()));
    let short = format!("timeout_s = 1\n{VERBS}");
    let more = hung.section("hung", &short)
        + &flooding.section("flooding", &short)
        + &prompt.section("prompt", VERBS);
    let served = Served::with_gate_and(&more, "");
    let client = served.client();
    cycle(&served);
    hung.hears(1);
    let amber = check(&client, "hung", "amber");
    assert!(
        amber["message"]
            .as_str()
            .unwrap()
            .contains("no complete answer within 1 s"),
        "{amber}"
    );
    check(&client, "flooding", "amber");
    counts(&client, "prompt", "delivered", 1);
    let (begun, verbs) = (Instant::now(), 3);
    for _ in 0..verbs {
        assert_eq!(client.verb("status").body["outcome"], "done");
        cycle(&served);
    }
    counts(&client, "prompt", "delivered", 4);
    assert!(
        begun.elapsed() < Duration::from_secs(40),
        "{:?}",
        begun.elapsed()
    );
    counts(&client, "hung", "waiting", 4);
    assert_eq!(
        client.get("/ready").body["checks"]["notify.prompt"]["state"],
        "green"
    );
}

#[test]
fn slow_or_flooding_response_counts_as_accepted() {
    let flooding = Receiver::start(|_| Does::FloodsBody);
    let slow = Receiver::start(|_| Does::AnswersAfter(Duration::from_secs(2)));
    let more = flooding.section("flooding", VERBS) + &slow.section("slow", VERBS);
    let served = Served::with_gate_and(&more, "");
    cycle(&served);
    counts(&served.client(), "flooding", "delivered", 1);
    counts(&served.client(), "slow", "delivered", 1);
    assert_eq!((flooding.heard().len(), slow.heard().len()), (1, 1));
}

#[test]
fn pending_notification_is_delivered_once_after_a_kill() {
    let address = own_address();
    let mut served = Served::with_gate_and(&section("phone", &address, VERBS), "");
    cycle(&served);
    cycle(&served);
    counts(&served.client(), "phone", "waiting", 2);
    wait_until("an attempt fails", || {
        (status(&served.client(), "phone")["failures"].as_u64()? > 0).then_some(())
    });
    served.restart();
    let receiver = Receiver::at(&address, |_| TAKES);
    assert_eq!(ids(&receiver.hears(2)).len(), 2);
    counts(&served.client(), "phone", "delivered", 2);
    served.restart();
    // A later notification after the restart shows that no earlier one was repeated.
    cycle(&served);
    let heard = receiver.hears(3);
    assert_eq!((heard.len(), ids(&heard).len()), (3, 3));
}

#[test]
fn event_just_before_a_kill_is_notified_after_the_restart() {
    let receiver = Receiver::start(|_| TAKES);
    let mut served = Served::with_gate_and(&receiver.section("phone", VERBS), "");
    for _ in 0..3 {
        cycle(&served);
        // The response to the verb comes before its notification can be sent.
        served.restart();
    }
    // At least once: after a kill between the receiver's response and its record, one comes twice, with
    // one id.
    wait_until("three verbs are notified", || {
        (ids(&receiver.heard()).len() == 3).then_some(())
    });
}

#[test]
fn damaged_outbox_is_set_aside_and_the_server_starts() {
    let receiver = Receiver::start(|_| TAKES);
    let mut served = Served::with_gate_and(&receiver.section("phone", VERBS), "");
    cycle(&served);
    counts(&served.client(), "phone", "delivered", 1);
    let dir = served.dir().join("data/notify");
    fs::write(dir.join("phone.outbox"), "no queue").unwrap();
    served.restart();
    assert!(dir.join("phone.outbox.damaged").exists());
    cycle(&served);
    assert_eq!(receiver.hears(2).len(), 2);
}

#[test]
fn changes_of_one_run_of_checks_are_one_notification_even_after_a_restart() {
    let receiver = Receiver::start(|_| TAKES);
    let more = receiver.section("phone", "events = [\"readiness_changed\", \"verb_ended\"]");
    let mut served = Served::with_gate_and(&more, "");
    // The guest is a host that answers only through the gate, so several checks are red.
    let notification = receiver.hears(1)[0].body.clone();
    assert_eq!(
        (&notification["kind"], &notification["level"]),
        (&json!("readiness_changed"), &json!("error"))
    );
    let text = notification["text"].as_str().unwrap();
    assert!(text.contains("devvm.guest."), "{text}");
    counts(&served.client(), "phone", "delivered", 1);
    served.restart();
    wait_until("the next server has examined everything", || {
        let checks = served.client().get("/ready").body["checks"].clone();
        checks["devvm.guest.sudo"].is_object().then_some(())
    });
    cycle(&served);
    let heard = wait_until("the verb is notified", || {
        let heard = receiver.heard();
        let verb = heard.iter().any(|one| one.body["kind"] == "verb_ended");
        verb.then_some(heard)
    });
    let again = heard
        .iter()
        .filter(|one| one.body["text"] == notification["text"]);
    assert_eq!(again.count(), 1, "{heard:?}");
}

#[test]
fn guest_that_is_down_is_notified_once_and_once_on_recovery() {
    let receiver = Receiver::start(|_| TAKES);
    let more = receiver.section("phone", "events = [\"guest_down\", \"guest_up\"]")
        + "[notifications]\nguest_down_after_s = 2\n";
    let mut served = Served::with_gate_and(&more, "");
    let client = served.client();
    // While an incident is open, vital signs are probed often.
    open(&client);
    wait_until("the guest is seen", || {
        let vitals = client.get("/api/targets/devvm").body["vitals"].clone();
        (vitals["ssh"]["state"] == "slow").then_some(())
    });
    served.host_mut().sshd.kill();
    let down = receiver.hears(1)[0].body.clone();
    assert_eq!(
        (&down["kind"], &down["level"]),
        (&json!("guest_down"), &json!("error"))
    );
    assert_eq!(down["target"], "devvm");
    counts(&client, "phone", "delivered", 1);
    // A restart in between neither repeats it nor loses the recovery.
    served.restart();
    served.host_mut().sshd.restart();
    let heard = receiver.hears(2);
    let kinds: Vec<_> = heard.iter().map(|one| one.body["kind"].clone()).collect();
    assert_eq!(kinds, ["guest_down", "guest_up"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn question_and_end_of_turn_are_notified_without_the_command() {
    let asks = Reply::bash("ssh devvm 'touch /s3cr3t'");
    let model = ModelServer::start(vec![asks, Reply::text("It is called s3cr3t.")]).await;
    let url = model.url();
    tokio::task::block_in_place(|| {
        let receiver = Receiver::start(|_| TAKES);
        let kinds = "events = [\"approval_wanted\", \"turn_ended\"]";
        let more = receiver.section("phone", kinds);
        let prelude = "BREAKGLASS_AGENT__AUTONOMY=approve-mutations";
        let served = Served::with_agent_and(&url, &more, prelude);
        let client = served.client();
        let incident = open(&client);
        let mut events = client.ask(&incident, "Touch it.");
        let asked = receiver.hears(1)[0].body.clone();
        assert_eq!(asked["kind"], "approval_wanted");
        assert_eq!(
            (&asked["level"], &asked["incident"]),
            (&json!("warning"), &json!(incident))
        );
        let question = events.until("approval_requested").data;
        let approval = question["approval"].as_str().unwrap();
        let path = format!("/api/incidents/{incident}/approvals/{approval}");
        client.post(&path, &json!({ "decision": "deny" }));
        let heard = receiver.hears(2);
        assert_eq!(heard[1].body["title"], "devvm: the agent's turn is done");
        assert!(!format!("{heard:?}").contains("s3cr3t"), "{heard:?}");
    });
}

#[test]
fn verb_is_notified_while_the_log_cannot_be_written() {
    let receiver = Receiver::start(|_| TAKES);
    let served = Served::with_gate_and(&receiver.section("phone", VERBS), "");
    let record = Connection::open(served.dir().join("data/record.db")).unwrap();
    // Another process holds the write lock.
    record.execute_batch("BEGIN IMMEDIATE").unwrap();
    cycle(&served);
    let unrecorded = receiver.hears(1)[0].body.clone();
    assert_eq!(unrecorded["title"], "devvm: cycle is done");
    assert_eq!(unrecorded["incident"], Value::Null);
    record.execute_batch("ROLLBACK").unwrap();
    wait_until("the log is written again", || {
        let checks = served.client().get("/ready").body["checks"].clone();
        (checks["store"]["state"] == "green").then_some(())
    });
    cycle(&served);
    let heard = receiver.hears(2);
    assert!(heard[1].body["incident"].is_string(), "{heard:?}");
    assert_eq!((heard.len(), ids(&heard).len()), (2, 2));
}

#[test]
fn secrets_of_receivers_are_in_no_log_error_or_response() {
    let refusing = Receiver::start(|_| Does::Answers("403 Forbidden\r\nx-s3cr3t: s3cr3t\r\n"));
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display();
    let dead = own_address();
    let mut more = String::new();
    for (name, url) in [
        (
            "refusing",
            format!("http://{}/s3cr3t?key=s3cr3t", refusing.address),
        ),
        ("dead", format!("http://{dead}/s3cr3t")),
        ("unknown", "https://s3cr3t.invalid/s3cr3t".to_owned()),
    ] {
        fs::write(dir.path().join(name), url).unwrap();
        more += &format!(
            "[[notifications.receivers]]\nname = \"{name}\"\nurl_file = \"{shown}/{name}\"\n\
             token_file = \"{shown}/token\"\n{VERBS}\n"
        );
    }
    fs::write(dir.path().join("token"), "s3cr3t-token\n").unwrap();
    let log = dir.path().join("log");
    let prelude = format!(
        "BREAKGLASS_LOG=debug; export BREAKGLASS_LOG; exec 2>{};",
        log.display()
    );
    let served = Served::with_gate_and(&more, &prelude);
    let client = served.client();
    cycle(&served);
    counts(&client, "refusing", "given_up", 1);
    let heard = refusing.hears(1);
    assert_eq!(
        heard[0].header("authorization"),
        Some("Bearer s3cr3t-token")
    );
    for name in ["dead", "unknown"] {
        check(&client, name, "amber");
    }
    let answers = ["/api/notifications", "/ready", "/api/me"].map(|path| client.get(path));
    let (code, tried) = run(&["notify", "test", "--config", &served.config_file()]);
    assert_eq!(code, Some(1), "{tried}");
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.contains("was not accepted"), "{logged}");
    for text in [format!("{answers:?}"), tried, logged] {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    let kept = served.dir().join("data/notify");
    for entry in fs::read_dir(kept).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}

#[test]
fn notify_test_reaches_every_receiver_and_prints_its_answer() {
    let takes = Receiver::start(|_| TAKES);
    let refuses = Receiver::start(|_| Does::Answers("404 Not Found\r\n"));
    let own = "template = '{\"own\": \"{{title}}\", \"urgency\": {{priority}}}'";
    let more = takes.section("phone", &format!("{own}\n{VERBS}"))
        + &refuses.section("old", "shape = \"gotify\"");
    let served = Served::with_gate_and(&more, "");
    let (code, text) = run(&["notify", "test", "--config", &served.config_file()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("phone") && text.contains("answered 204"),
        "{text}"
    );
    assert!(
        text.contains("old") && text.contains("it answered 404"),
        "{text}"
    );
    let own = json!({ "own": "breakglass: a test", "urgency": 3 });
    assert_eq!(takes.hears(1)[0].body, own);
    let gotify = refuses.hears(1)[0].body.clone();
    assert!(gotify["message"].is_string(), "{gotify}");
}

/// Makes a certificate authority, and a key with its certificate for 127.0.0.1.
fn make_certificates(dir: &Path) {
    fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    for line in [
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=receiver -keyout key.pem -out request",
        "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out cert.pem",
    ] {
        let made = Command::new("openssl")
            .args(line.split(' '))
            .current_dir(dir)
            .output();
        let made = made.expect("openssl: apt-get install openssl");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
}

/// A TLS server with the certificate in `dir` that accepts one notification.
struct TlsReceiver(Child);

impl TlsReceiver {
    fn start(dir: &Path, address: &str) -> TlsReceiver {
        let child = Command::new("openssl")
            .args([
                "s_server", "-quiet", "-cert", "cert.pem", "-key", "key.pem", "-accept", address,
            ])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut receiver = TlsReceiver(child);
        let stdout = receiver.0.stdout.take().unwrap();
        let mut stdin = receiver.0.stdin.take().unwrap();
        std::thread::spawn(move || {
            // The body is the request's last line, without a line end.
            let mut heard = BufReader::new(stdout);
            let mut text = Vec::new();
            while !text.ends_with(b"}") {
                if heard.read_until(b'}', &mut text).unwrap_or(0) == 0 {
                    return;
                }
            }
            let _ = stdin.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
            let _ = heard.read_to_end(&mut text);
        });
        wait_until("openssl listens", || {
            TcpStream::connect(address).ok().map(drop)
        });
        receiver
    }
}

impl Drop for TlsReceiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn certificate_is_trusted_only_through_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    make_certificates(dir.path());
    let address = own_address();
    let _receiver = TlsReceiver::start(dir.path(), &address);
    let shown = dir.path().display();
    let named = |name: &str, more: &str| {
        format!(
            "[[notifications.receivers]]\nname = \"{name}\"\nurl = \"https://{address}/hook\"\n{more}"
        )
    };
    let tried = |section: &str| {
        let served = Served::with_gate_and(section, "");
        run(&["notify", "test", "--config", &served.config_file()])
    };
    let (code, text) = tried(&named("unknown", ""));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("TLS failed"), "{text}");
    let (code, text) = tried(&named("known", &format!("ca_file = \"{shown}/ca.pem\"\n")));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("answered 204"), "{text}");
}

#[test]
fn notify_test_without_receivers_explains_how_to_add_one() {
    let served = Served::with_gate();
    let (code, text) = run(&["notify", "test", "--config", &served.config_file()]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("[[notifications.receivers]]"), "{text}");
}
