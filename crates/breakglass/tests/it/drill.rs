//! The main path on the real binary: from the sign-in link to a recovered machine.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{Client, Drill, Events, wait_until};
use serde_json::json;

#[test]
fn printed_link_signs_in_only_once() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    assert_eq!(client.get("/api/me").status, 200);
    let again = Client::anonymous(&drill.base);
    let code = json!({ "token": "not-the-code" });
    assert_eq!(again.post("/api/login", &code).status, 401);
}

#[test]
fn drill_has_an_open_incident_marked_as_drill() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    let opened = client.events(&client.incident(), 0).next().unwrap();
    assert_eq!(opened.event, "incident_opened");
    assert_eq!(opened.data["drill"], true);
    assert_eq!(client.get("/api/me").body["drill"], true);
}

/// Allows the agent's question, which contains `part`.
fn allow(client: &Client, incident: &str, events: &mut Events, part: &str) {
    let question = events.until("approval_requested");
    let command = question.data["command"].as_str().unwrap();
    assert!(command.contains(part), "{command}");
    let allow = json!({ "decision": "allow" });
    assert_eq!(client.decide(incident, &question, &allow), 200);
}

#[test]
fn drill_asks_for_approval_until_autonomy_is_changed() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    assert_eq!(client.get("/api/me").body["autonomy"], "approve-mutations");
    let incident = client.incident();
    client.let_act(&incident);
    let mut events = client.ask(&incident, "Triage: find what is wrong and repair it.");
    let next = events.find(|frame| ["approval_requested", "turn_ended"].contains(&&*frame.event));
    assert_eq!(next.unwrap().event, "turn_ended");
}

#[test]
fn denied_agent_reports_that_it_did_nothing() {
    for (scenario, verb) in [("disk-full", "truncate"), ("io-stall", "cycle")] {
        let drill = Drill::start(&["--scenario", scenario]);
        let client = drill.sign_in();
        let incident = client.incident();
        let mut events = client.ask(&incident, "Triage: find what is wrong and repair it.");
        let question = events.until("approval_requested");
        let command = question.data["command"].as_str().unwrap();
        assert!(command.contains(verb), "{command}");
        let deny = json!({ "decision": "deny", "note": "not tonight" });
        assert_eq!(client.decide(&incident, &question, &deny), 200);
        let report = last_words(&mut events);
        assert!(report.contains("nothing. Not "), "{report}");
        assert!(
            report.contains("the operator denied it: not tonight"),
            "{report}"
        );
        assert!(report.contains("**not repaired**"), "{report}");
    }
}

/// The agent's last text in its turn.
fn last_words(events: &mut Events) -> String {
    let mut said = String::new();
    for frame in events.take_while(|frame| frame.event != "turn_ended") {
        if frame.event == "text" {
            frame.data["text"].as_str().unwrap().clone_into(&mut said);
        }
    }
    said
}

#[test]
fn agent_finds_the_full_disk_and_restores_the_service() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    let incident = client.incident();
    let mut events = client.ask(&incident, "Triage: find what is wrong and repair it.");
    events.until("text_delta");
    allow(&client, &incident, &mut events, "truncate");
    let ended = events.until("turn_ended");
    assert_eq!(ended.data["outcome"], "done", "{ended:?}");
    let replay: Vec<_> = client
        .events(&incident, 0)
        .take_while(|frame| frame.event != "caught-up")
        .collect();
    let commands: Vec<&str> = replay
        .iter()
        .filter_map(|frame| frame.data["summary"].as_str())
        .collect();
    assert!(
        commands.iter().any(|command| command.contains("devvm '")),
        "{commands:?}"
    );
    let services = client.post("/api/targets/devvm/checks/services?wait=true", &json!({}));
    assert_eq!(services.body["outcome"], "done", "{services:?}");
    let seqs: Vec<u64> = replay.iter().filter_map(|frame| frame.id).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
}

#[test]
fn report_has_the_agents_changes_and_the_last_measurement() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    let incident = client.incident();
    let mut events = client.ask(&incident, "Triage: find what is wrong and repair it.");
    allow(&client, &incident, &mut events, "truncate");
    events.until("turn_ended");
    wait_until("the vital signs are known", || {
        let vitals = &client.get("/api/targets/devvm").body["vitals"];
        (vitals["ssh"]["state"] == "good" && vitals["vm"]["state"] == "good").then_some(())
    });
    let report = || {
        let (_, _, text) = client.bytes(&format!("/api/incidents/{incident}/report.md"));
        String::from_utf8(text).unwrap()
    };
    let open = report();
    assert!(
        open.contains("| machine state | now: `SSH answers"),
        "{open}"
    );
    assert!(
        open.contains("on `devvm` by the agent, allowed by `operator:operator`: exit code 0"),
        "{open}"
    );
    let close = client.post(&format!("/api/incidents/{incident}/close"), &json!({}));
    assert_eq!(close.status, 204);
    let closed = report();
    assert!(
        closed.contains("`Last measured before the incident was closed: SSH answers"),
        "{closed}"
    );
    assert!(closed.contains("; machine running"), "{closed}");
}

#[test]
fn cycle_needs_no_agent_and_finishes_with_verdict_running() {
    let drill = Drill::start(&["--scenario", "io-stall"]);
    let client = drill.sign_in();
    let result = client.verb("cycle");
    assert_eq!(result.status, 200, "{result:?}");
    assert_eq!(result.body["outcome"], "done", "{result:?}");
    assert_eq!(result.body["verdict"], "running");
    let mut events = client.events(result.body["incident"].as_str().unwrap(), 0);
    let lines: Vec<String> = std::iter::from_fn(|| events.next())
        .take_while(|frame| frame.event != "verb_finished")
        .filter_map(|frame| Some(frame.data["line"].as_str()?.to_owned()))
        .collect();
    assert!(
        lines.iter().any(|line| line.contains("forensics")),
        "{lines:?}"
    );
}

#[test]
fn screenshots_are_available_now_and_from_before_a_cycle() {
    let drill = Drill::start(&["--scenario", "panic"]);
    let client = drill.sign_in();
    let (status, headers, now) = client.bytes("/api/targets/devvm/screenshot");
    assert_eq!(
        (status, headers),
        (200, ["image/png", "no-store"].map(String::from))
    );
    assert!(now.starts_with(b"\x89PNG\r\n\x1a\n"));
    let cycled = client.verb("cycle").body;
    let kept = |operation: &str| format!("/api/operations/{operation}/screenshot");
    let before = client.bytes(&kept(cycled["operation"].as_str().unwrap()));
    assert_eq!((before.0, before.2), (200, now));
    let mut events = client.events(cycled["incident"].as_str().unwrap(), 0);
    assert_eq!(events.until("verb_finished").data["picture"], true);
    let status = client.verb("status").body;
    let none = client.get(&kept(status["operation"].as_str().unwrap()));
    assert_eq!(none.status, 404, "{none:?}");
}

#[test]
fn stopped_guest_has_no_screenshot_and_the_gates_reason_is_shown() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    assert_eq!(client.verb("stop").body["verdict"], "stopped");
    let none = client.get("/api/targets/devvm/screenshot");
    assert_eq!(none.status, 409, "{none:?}");
    assert_eq!(none.body["type"], "urn:breakglass:no-picture");
    let detail = none.body["detail"].as_str().unwrap();
    assert!(detail.contains("the guest has no QEMU process"), "{detail}");
}

#[test]
fn unknown_verb_is_refused_with_the_list_of_verbs() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    let answer = client.verb("destroy");
    assert_eq!(answer.status, 404);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("status, forensics, vitals, screenshot, start, stop, reset, cycle"),
        "{detail}"
    );
}

#[test]
fn stop_ends_a_running_turn_and_records_who_stopped_it() {
    let drill = Drill::start(&[]);
    let client = drill.sign_in();
    let incident = client.incident();
    let mut events = client.ask(&incident, "triage");
    events.until("turn_started");
    let second = client.prompt(&incident, "and this");
    assert_eq!(second.status, 409, "{second:?}");
    assert_eq!(second.body["turn"], 1, "{second:?}");
    let stop = client.post(&format!("/api/incidents/{incident}/stop"), &json!({}));
    assert!(stop.status < 300, "{stop:?}");
    assert_eq!(events.until("turn_ended").data["outcome"], "stopped");
}

#[test]
fn sigterm_ends_the_drill_cleanly_with_streams_attached() {
    let mut drill = Drill::start(&[]);
    let client = drill.sign_in();
    let mut events = client.events(&client.incident(), 0);
    events.until("caught-up");
    assert_eq!(drill.terminate(), Some(0));
}

#[test]
fn sigterm_while_the_link_is_printed_ends_the_drill_and_removes_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut drill = Drill::start_with(&[], &[("TMPDIR", dir.path().to_str().unwrap())]);
    assert_eq!(drill.terminate(), Some(0));
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn sigterm_does_not_wait_for_a_turn_or_an_incomplete_request() {
    let mut drill = Drill::start(&[]);
    let client = drill.sign_in();
    let mut events = client.ask(&client.incident(), "triage");
    events.until("tool_started");
    let mut half = TcpStream::connect(drill.base.trim_start_matches("http://")).unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    let begun = Instant::now();
    assert_eq!(drill.terminate(), Some(0));
    // A connection that is cut at its deadline takes 5 s.
    assert!(
        begun.elapsed() < Duration::from_millis(4_900),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn key_of_the_drill_is_in_no_file_readable_by_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let drill = Drill::start_with(&[], &[("TMPDIR", dir.path().to_str().unwrap())]);
    assert_eq!(drill.sign_in().verb("status").body["outcome"], "done");
    let mut left = vec![dir.path().to_owned()];
    let mut files = 0;
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            files += 1;
            let bytes = std::fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("PRIVATE KEY"), "{}", path.display());
        }
    }
    assert!(files > 0, "the drill keeps its files elsewhere");
}

#[test]
fn failed_cell_disables_the_agent_but_not_power() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cell"), "in the way").unwrap();
    let drill = Drill::in_dir(dir.path());
    let client = drill.sign_in();
    assert_eq!(client.verb("status").body["outcome"], "done");
    let agent = client.get("/api/me").body["agent"].clone();
    assert_eq!(agent["available"], false);
    let message = agent["message"].as_str().unwrap();
    assert!(message.contains("could not be created"), "{message}");
    assert_eq!(client.get("/ready").body["checks"]["agent"]["ok"], false);
}

/// A directory with every program of the machine except `bwrap`, as the only one on the PATH.
fn programs_without_bwrap() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["/usr/sbin", "/usr/bin"] {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let here = dir.path().join(entry.file_name());
            if entry.file_name() != "bwrap" && !here.exists() {
                let _ = std::os::unix::fs::symlink(entry.path(), here);
            }
        }
    }
    dir
}

#[test]
fn drill_without_bubblewrap_asks_first_and_names_the_package() {
    let path = programs_without_bwrap();
    let path = path.path().to_str().unwrap();
    let drill = Drill::start_with(&["--scenario", "disk-full"], &[("PATH", path)]);
    let client = drill.sign_in();
    let ceiling = client.get("/api/me").body["ceiling"].clone();
    assert_eq!(ceiling["autonomy"], "approve-mutations", "{ceiling}");
    let why = ceiling["why"].as_str().unwrap();
    assert!(why.contains("install the package bubblewrap"), "{why}");
    let incident = client.incident();
    let more = json!({ "autonomy": "autonomous" });
    let refused = client.post(&format!("/api/incidents/{incident}/autonomy"), &more);
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(refused.body["type"], "urn:breakglass:above-ceiling");
    assert_eq!(refused.body["detail"], why);
    let mut events = client.ask(&incident, "Triage: find what is wrong and repair it.");
    allow(&client, &incident, &mut events, "truncate");
    assert_eq!(events.until("turn_ended").data["outcome"], "done");
}

#[test]
fn sandbox_removes_the_autonomy_ceiling() {
    let drill = Drill::start(&[]);
    assert!(drill.sign_in().get("/api/me").body["ceiling"].is_null());
}
