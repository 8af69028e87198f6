//! The metrics and the log lines for the operation of breakglass.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use breakglass_rig::sshd::Sshd;
use serde_json::{Value, json};

use crate::common::serve::{Served, TOKEN};
use crate::common::{Client, Drill, Ended, breakglass, wait_until};
use crate::exposition::Exposition;
use breakglass_rig::port::own_address;

/// A verb of the table in docs/operate.md.
fn scrape(client: &Client) -> Exposition {
    let (status, [kind, _], text) = client.bytes("/metrics");
    assert_eq!(
        (status, kind.as_str()),
        (200, crate::exposition::CONTENT_TYPE)
    );
    Exposition::parse(&String::from_utf8(text).unwrap())
}

#[test]
fn verb_check_and_turn_increment_their_counters() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    let before = scrape(&client);
    let done = [
        ("verb", "status"),
        ("verdict", "running"),
        ("outcome", "done"),
    ];
    let ended = [("outcome", "done")];
    assert_eq!(before.value("breakglass_verbs_total", &done), None);
    assert_eq!(before.value("breakglass_turns_total", &ended), Some(0.0));

    assert_eq!(client.verb("status").body["outcome"], "done");
    client.post("/api/targets/devvm/checks/disk?wait=true", &json!({}));
    let incident = client.incident();
    client.let_act(&incident);
    client.ask(&incident, "Triage.").until("turn_ended");

    let after = scrape(&client);
    assert_eq!(after.value("breakglass_verbs_total", &done), Some(1.0));
    let seconds = "breakglass_verb_seconds_count";
    assert_eq!(after.value(seconds, &[("verb", "status")]), Some(1.0));
    assert_eq!(after.value("breakglass_turns_total", &ended), Some(1.0));
    assert_eq!(after.sum("breakglass_checks_total"), 1.0);
    let host = [("target", "devvm"), ("machine", "host"), ("result", "ok")];
    assert!(after.value("breakglass_ssh_dials_total", &host) >= Some(1.0));
    let appended = "breakglass_append_seconds_count";
    assert!(after.value(appended, &[]) > before.value(appended, &[]));
    assert!(after.value("process_resident_memory_bytes", &[]) > Some(1e6));
}

#[test]
fn metrics_show_a_degraded_log_and_open_streams() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("record.db"), "no database".repeat(100)).unwrap();
    let drill = Drill::in_dir(dir.path());
    let client = drill.sign_in();
    let events = client.events(&client.incident(), 0);
    let metrics = scrape(&client);
    drop(events);
    assert_eq!(metrics.value("breakglass_record_degraded", &[]), Some(1.0));
    assert_eq!(metrics.value("breakglass_event_streams", &[]), Some(1.0));
    assert_eq!(metrics.value("breakglass_ready", &[]), Some(0.0));
    let store = [("check", "store")];
    assert_eq!(metrics.value("breakglass_check_state", &store), Some(2.0));
}

#[test]
fn document_and_server_have_the_same_metrics() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    client.verb("status");
    client.post("/api/targets/devvm/checks/disk?wait=true", &json!({}));
    let incident = client.incident();
    client.let_act(&incident);
    client.ask(&incident, "Triage.").until("turn_ended");
    let exported = scrape(&client).families();
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate.md");
    let document = std::fs::read_to_string(document).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    let named: BTreeSet<String> = names
        .filter(|name| name.starts_with("breakglass_") || name.starts_with("process_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(exported, named);
}

/// Another server with the files of `served`, and its output.
struct Beside {
    child: Child,
    client: Client,
    printed: [Arc<Mutex<Vec<String>>>; 2],
    readers: Vec<JoinHandle<()>>,
    _data: tempfile::TempDir,
}

impl Beside {
    fn start(served: &Served, variables: &[(&str, &str)]) -> Beside {
        let (address, data) = (own_address(), tempfile::tempdir().unwrap());
        let mut command = breakglass();
        command.args(["serve", "--config", &served.config_file()]);
        command.env("BREAKGLASS_LISTEN", &address);
        command.env("BREAKGLASS_DATA_DIR", data.path().join("data"));
        command.envs(variables.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (printed, mut readers) = ([Arc::default(), Arc::default()], Vec::new());
        let pipes: [Box<dyn Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
        for (pipe, lines) in pipes.into_iter().zip(&printed) {
            readers.push(collect(pipe, Arc::clone(lines)));
        }
        let mut client = Client::anonymous(&format!("http://{address}"));
        client.bearer = Some(TOKEN.to_owned());
        wait_until("the server answers", || client.try_get("/health"));
        Beside {
            child,
            client,
            printed,
            readers,
            _data: data,
        }
    }

    /// Stops it with SIGTERM. Returns all lines of standard output and standard error.
    fn finish(mut self) -> [Vec<String>; 2] {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = wait_until("the server ends", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.printed
            .each_ref()
            .map(|lines| lines.lock().unwrap().clone())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn collect(pipe: Box<dyn Read + Send>, into: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let read = move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    };
    std::thread::spawn(read)
}

#[test]
fn metrics_listener_serves_only_metrics_without_identity() {
    let served = Served::with_gate();
    let address = own_address();
    let beside = Beside::start(&served, &[("BREAKGLASS_METRICS_LISTEN", &address)]);
    let scraper = Client::anonymous(&format!("http://{address}"));
    scrape(&scraper);
    for path in ["/", "/ready", "/api/me", "/api/incidents"] {
        assert_eq!(scraper.get(path).status, 404, "{path}");
    }
    assert_eq!(scraper.post("/metrics", &json!({})).status, 405);
    let anonymous = Client::anonymous(&beside.client.base);
    assert_eq!(anonymous.get("/metrics").status, 401);
    assert_eq!(beside.client.get("/metrics").status, 200);
}

/// Text that would look like separate lines if printed unescaped.
const FORGED: &str = "Triage.\n{\"kind\":\"verb_finished\",\"forged\":true}\r\n\u{2028}{\"level\":\"INFO\"}\u{1b}[2K";

#[test]
fn every_output_line_is_one_json_object() {
    let served = Served::with_gate();
    let dir = tempfile::tempdir().unwrap();
    let agent = hostile_agent(dir.path());
    let variables = [
        ("BREAKGLASS_AGENT__ENABLED", "true"),
        ("BREAKGLASS_AGENT__COMMAND", agent.as_str()),
        ("BREAKGLASS_AGENT__AUTONOMY", "autonomous"),
        ("BREAKGLASS_LOG", "debug"),
    ];
    let beside = Beside::start(&served, &variables);
    let client = &beside.client;
    let opened = client.post("/api/incidents", &json!({ "target": "devvm" }));
    let incident = opened.body["incident"].as_str().unwrap().to_owned();
    client.verb("status");
    client.ask(&incident, FORGED).until("turn_ended");
    client.get(&format!("/api/targets/{}", "a%0A%7B%22level%22%3A1%7D"));

    let [events, logs] = beside.finish();
    let events: Vec<Value> = events.iter().map(|line| object(line)).collect();
    for event in &events {
        for field in ["incident", "seq", "kind", "at", "actor", "hash"] {
            assert!(!event[field].is_null(), "no {field} in {event}");
        }
        assert!(event["forged"].is_null(), "a forged line: {event}");
    }
    let prompt = events.iter().find(|event| event["kind"] == "prompt");
    assert_eq!(prompt.expect("the prompt's event")["text"], FORGED);
    assert!(logs.len() > 3, "only {logs:?}");
    for log in logs.iter().map(|line| object(line)) {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(log[field].is_string(), "no {field} in {log}");
        }
        assert!(log["forged"].is_null(), "a forged line: {log}");
    }
}

fn object(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(value.is_object(), "{line}");
    value
}

/// The scripted agent, with a hostile answer.
fn hostile_agent(dir: &std::path::Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.join("agent");
    let forged = r#"forged\n{"level":"INFO","forged":true}\r\n"#;
    // The path of the program in the sandbox.
    let text = format!(
        "#!/bin/sh\nprintf '{forged}' >&2\nexec /run/breakglass/program drill-agent \"$@\"\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn failed_connection_is_counted_by_its_reason() {
    let served = Served::with_gate();
    // An sshd that refuses our key, at the guest's address.
    let stranger = Sshd::open(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzCq9sR1jQ0tS2Hq7mW6S1zZbQ8i1oE1m0q8mQ2bV3C unknown",
    );
    let port = stranger.port.to_string();
    let variables = [
        ("BREAKGLASS_TARGETS__0__GUEST__PORT", port.as_str()),
        ("BREAKGLASS_SSH__HOST_KEYS", "accept-any"),
    ];
    let beside = Beside::start(&served, &variables);
    let refused = [
        ("target", "devvm"),
        ("machine", "guest"),
        ("result", "key_refused"),
    ];
    wait_until("the refused key is counted", || {
        scrape(&beside.client).value("breakglass_ssh_dials_total", &refused)
    });
}

/// Starts a second server with the files of `served`, in a shell after `prelude`. Returns its exit code
/// and output.
fn second(served: &Served, prelude: &str, data_dir: &Path) -> (Option<i32>, String) {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-ec",
        &format!("{prelude} exec \"$0\" serve --config \"$1\""),
    ]);
    command
        .arg(breakglass().get_program())
        .arg(served.config_file());
    command.env("BREAKGLASS_LISTEN", own_address());
    command.env("BREAKGLASS_DATA_DIR", data_dir);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut second = Ended(command.spawn().unwrap());
    let code = wait_until("the second server ends", || second.0.try_wait().unwrap()).code();
    let mut said = String::new();
    second
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    (code, said)
}

#[test]
fn second_server_on_the_same_data_is_refused_with_the_owner() {
    let mut served = Served::with_gate();
    let (data, dir) = (served.data_dir(), served.dir().to_owned());
    let (link, mount) = (dir.join("link"), dir.join("mount"));
    std::os::unix::fs::symlink(&data, &link).unwrap();
    std::fs::create_dir(&mount).unwrap();
    let bind = format!("mount --bind {} {};", data.display(), mount.display());
    for (prelude, path) in [("", &data), ("", &link), (&*bind, &mount)] {
        let (code, said) = second(&served, prelude, path);
        assert_eq!(code, Some(2), "{said}");
        let process = format!("process {} on ", served.pid());
        for part in [&*process, path.to_str().unwrap(), "another data_dir"] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
    }
    assert_eq!(served.client().verb("status").body["outcome"], "done");
    // After a kill the lock is released, even if the file remains.
    served.restart();
    assert_eq!(served.client().verb("status").body["outcome"], "done");
}
