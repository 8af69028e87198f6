//! Export of incidents, with and without a server, and import into another log.

use std::path::Path;
use std::process::Stdio;

use crate::common::serve::Served;
use crate::common::{Drill, audit, breakglass, run, wait_until};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A closed incident with a verb, in the log of a stopped server.
fn recorded(dir: &Path) -> String {
    let mut drill = Drill::in_dir(dir);
    let client = drill.sign_in();
    client.verb("status");
    let incident = client.incident();
    let closed = client.post(
        &format!("/api/incidents/{incident}/close"),
        &serde_json::json!({}),
    );
    assert_eq!(closed.status, 204, "{closed:?}");
    assert_eq!(drill.terminate(), Some(0));
    incident
}

/// Imports into the log below a directory.
fn import(file: &Path, dir: &Path) -> (Option<i32>, String) {
    run(&["incidents", "import", text(file), "--data-dir", text(dir)])
}

/// Exports from the log without a server.
fn export(incident: &str, dir: &Path, output: &Path) -> (Option<i32>, String) {
    run(&[
        "incidents",
        "export",
        incident,
        "--data-dir",
        text(dir),
        "--output",
        text(output),
    ])
}

#[test]
fn exported_incident_is_identical_after_the_import() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let incident = recorded(here.path());
    let file = here.path().join("incident.jsonl");
    let export = |dir: &Path, output: &Path| export(&incident, dir, output);
    let (code, said) = export(here.path(), &file);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["audit", "verify", "--file", text(&file)]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&incident) && said.contains("verified"),
        "{said}"
    );
    for how in ["imported", "was already imported"] {
        let (code, said) = import(&file, there.path());
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(how), "{said}");
    }
    let again = there.path().join("again.jsonl");
    assert_eq!(export(there.path(), &again).0, Some(0));
    assert_eq!(
        std::fs::read(&again).unwrap(),
        std::fs::read(&file).unwrap()
    );
    assert_eq!(audit(there.path()).0, Some(0));
    // A server shows it as closed, with its events.
    let drill = Drill::in_dir(there.path());
    let client = drill.sign_in();
    let shown = client.get(&format!("/api/incidents/{incident}")).body;
    assert!(
        shown["closed_at"].is_string() && shown["imported_at"].is_string(),
        "{shown}"
    );
    let (status, _, report) = client.bytes(&format!("/api/incidents/{incident}/report.md"));
    let report = String::from_utf8(report).unwrap();
    assert_eq!(status, 200);
    assert!(
        report.contains("| imported |") && report.contains("`status`"),
        "{report}"
    );
    let (status, headers, sent) = client.bytes(&format!("/api/incidents/{incident}/export"));
    assert_eq!((status, headers[0].as_str()), (200, "application/jsonl"));
    assert_eq!(sent, std::fs::read(&file).unwrap());
}

#[test]
fn existing_files_are_not_overwritten_and_tampered_ones_are_refused() {
    let here = tempfile::tempdir().unwrap();
    let incident = recorded(here.path());
    let file = here.path().join("incident.jsonl");
    std::fs::write(&file, "mine").unwrap();
    let dir = text(here.path());
    let words = ["incidents", "export", &incident, "--data-dir", dir];
    let (code, said) = run(&[&words[..], &["--output", text(&file)]].concat());
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    let output = breakglass().args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let whole = String::from_utf8(output.stdout).unwrap();
    assert_ne!(whole, whole.replace("verb_started", "verb_startet"));
    std::fs::write(&file, whole.replace("verb_started", "verb_startet")).unwrap();
    let there = tempfile::tempdir().unwrap();
    let (code, said) = import(&file, there.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("at event"), "{said}");
    assert!(!there.path().join("record.db").exists());
    let (code, said) = run(&["audit", "verify", "--file", text(&file)]);
    assert_eq!(code, Some(1), "{said}");
    let nowhere = there.path().join("typo");
    let (code, said) = import(&file, &nowhere);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn import_into_a_running_server_is_refused() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let incident = recorded(here.path());
    let file = here.path().join("incident.jsonl");
    export(&incident, here.path(), &file);
    let drill = Drill::in_dir(there.path());
    let client = drill.sign_in();
    let (code, said) = import(&file, there.path());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("uses this directory"), "{said}");
    assert_eq!(client.verb("status").body["outcome"], "done");
    assert_eq!(client.get("/ready").body["checks"]["store"]["ok"], true);
}

#[test]
fn command_line_fetches_exports_and_reports_from_a_server() {
    let served = Served::with_gate();
    served.client().verb("status");
    let incident = served.client().incident();
    let token = served.token_file();
    let ask = |words: &[&str]| {
        let server = ["--server", &served.base, "--token-file", &token];
        let mut command = breakglass();
        command.args(words).args(server).stderr(Stdio::null());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let report = ask(&["incidents", "report", &incident]);
    assert!(
        report.starts_with("# Incident on `devvm`\n\n## Summary"),
        "{report}"
    );
    let export = ask(&["incidents", "export", &incident]);
    assert!(export.starts_with("{\"breakglass_export\":1,"), "{export}");
    assert!(ask(&["incidents", "list"]).contains(&incident));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("it.jsonl");
    std::fs::write(&file, export).unwrap();
    assert_eq!(run(&["audit", "verify", "--file", text(&file)]).0, Some(0));
}

/// A closed incident with a cycle and its screenshot, and a newer closed incident.
fn cycled(dir: &Path) -> (String, String) {
    let mut drill = Drill::in_dir(dir);
    let client = drill.sign_in();
    let incident = client.incident();
    let cycle = client.verb("cycle").body;
    let operation = cycle["operation"].as_str().unwrap().to_owned();
    for incident in [incident.clone(), {
        let opened = client.post("/api/incidents", &serde_json::json!({ "target": "devvm" }));
        opened.body["incident"].as_str().unwrap().to_owned()
    }] {
        let path = format!("/api/incidents/{incident}/close");
        assert_eq!(client.post(&path, &serde_json::json!({})).status, 204);
    }
    assert_eq!(drill.terminate(), Some(0));
    (incident, operation)
}

/// Puts the drill's data and a `[record]` section into the server's directory.
fn adopt(drill: &Path, server: &Path) {
    let data = server.join("data");
    for side in ["record.db-wal", "record.db-shm"] {
        let _ = std::fs::remove_file(data.join(side));
    }
    std::fs::copy(drill.join("record.db"), data.join("record.db")).unwrap();
    std::fs::create_dir_all(data.join("pictures")).unwrap();
    for picture in std::fs::read_dir(drill.join("pictures")).unwrap() {
        let picture = picture.unwrap();
        let kept = data.join("pictures").join(picture.file_name());
        std::fs::copy(picture.path(), kept).unwrap();
    }
    let file = server.join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config + "[record]\nkeep_incidents = 1\n").unwrap();
}

#[test]
fn retention_removes_old_incidents_with_their_screenshots_and_leaves_tombstones() {
    let dir = tempfile::tempdir().unwrap();
    let (incident, operation) = cycled(dir.path());
    let picture = format!("pictures/{operation}.png");
    assert!(dir.path().join(&picture).exists());
    let mut served = Served::with_gate();
    served.restart_after(|server| adopt(dir.path(), server));
    let client = served.client();
    let path = format!("/api/incidents/{incident}");
    let gone = wait_until("retention removes the incident", || {
        let answer = client.get(&path);
        (answer.status == 404).then_some(answer)
    });
    let detail = gone.body["detail"].as_str().unwrap();
    assert!(detail.contains("removed by retention on"), "{detail}");
    wait_until("the picture goes too", || {
        let shown = client.bytes(&format!("/api/operations/{operation}/screenshot"));
        (shown.0 == 404).then_some(())
    });
    let data = Path::new(&served.config_file()).with_file_name("data");
    assert!(!data.join(&picture).exists());
    let (code, said) = audit(&data);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!("{incident} devvm removed by retention")),
        "{said}"
    );
}
