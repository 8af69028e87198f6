//! Power works even if the log can't be written.

use std::path::Path;

use crate::common::{Client, Drill, audit};

fn assert_power_works_and_says_degraded(client: &Client) {
    let result = client.verb("status");
    assert_eq!(result.status, 200, "{result:?}");
    assert_eq!(result.body["outcome"], "done", "{result:?}");
    assert!(is_degraded(client));
}

/// Whether readiness reports that events are not recorded.
fn is_degraded(client: &Client) -> bool {
    client.get("/ready").body["checks"]["store"]["ok"] == false
}

#[test]
fn corrupt_log_is_left_untouched_and_verbs_still_run() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record.db");
    let garbage = b"this was a database once".repeat(400);
    std::fs::write(&record, &garbage).unwrap();
    let drill = Drill::in_dir(dir.path());
    assert_power_works_and_says_degraded(&drill.sign_in());
    assert_eq!(std::fs::read(&record).unwrap(), garbage);
}

#[test]
fn degraded_log_is_noted_in_the_incident_and_prompts_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("record.db"), "no database".repeat(100)).unwrap();
    let drill = Drill::in_dir(dir.path());
    let client = drill.sign_in();
    let incident = client.incident();
    let notice = client.events(&incident, 0).until("notice");
    assert_eq!(notice.data["code"], "record_degraded", "{notice:?}");
    let refused = client.prompt(&incident, "triage");
    assert_eq!(refused.status, 503, "{refused:?}");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("cannot be recorded"), "{detail}");
    assert_eq!(
        client.get("/api/me").body["agent"]["message"],
        refused.body["detail"]
    );
}

#[test]
fn log_on_a_full_disk_degrades_and_verbs_still_run() {
    let dir = tempfile::tempdir().unwrap();
    // The shell ignores SIGXFSZ, so a write past 256 KiB fails as on a full disk.
    let drill = Drill::start_by_shell("trap '' XFSZ; ulimit -f 512;", dir.path());
    let client = drill.sign_in();
    for _ in 0..200 {
        let result = client.verb("status");
        assert_eq!(result.body["outcome"], "done", "{result:?}");
        if is_degraded(&client) {
            // A checkpoint may free space at any time; the test only needs power to continue.
            assert_eq!(client.verb("status").body["outcome"], "done");
            return;
        }
    }
    panic!("256 KiB held two hundred verbs");
}

#[test]
fn audit_detects_a_changed_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut drill = Drill::in_dir(dir.path());
    drill.sign_in().verb("status");
    assert_eq!(drill.terminate(), Some(0));
    let (code, text) = audit(dir.path());
    assert_eq!(code, Some(0), "{text}");
    tamper(&dir.path().join("record.db"));
    let (code, text) = audit(dir.path());
    assert_eq!(code, Some(1), "{text}");
}

/// Changes one letter of one stored event, in the file.
fn tamper(record: &Path) {
    let mut bytes = std::fs::read(record).unwrap();
    let needle = b"verb_started";
    let find = |from: usize, what: &[u8]| {
        from + bytes[from..]
            .windows(what.len())
            .position(|window| window == what)
            .unwrap()
    };
    let identity = find(find(0, needle), b"operator:") + b"operator:".len();
    bytes[identity] ^= 1;
    std::fs::write(record, bytes).unwrap();
}
