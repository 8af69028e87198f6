//! Logs and exports of version 0.1, written by its own program: every kind of event, each with and without its
//! optional fields, hostile text, verdicts of earlier gates, a tombstone, and an incident that was open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::{Frames, append};
use breakglass_log::{Log, LogError, Options, export_from, import, verify, verify_export};
use breakglass_model::{Event, EventBody, IncidentId, Verdict};
use rusqlite::Connection;

const REMOVED: IncidentId = uuid::uuid!("01a22e20-3a8f-7193-aacc-a0b950102577");
const CLOSED: IncidentId = uuid::uuid!("01a22e20-3aad-71b3-a243-a9aff726d6a1");
const OPEN: IncidentId = uuid::uuid!("01a22e20-3cc2-7300-b787-d20f61c630c5");

const EXPORT: &str = include_str!("../data/0.1/incident.jsonl");

/// A copy of the log that version 0.1 wrote.
fn copied(directory: &Path) -> PathBuf {
    let path = directory.join("record.db");
    std::fs::write(&path, include_bytes!("../data/0.1/record.db")).unwrap();
    path
}

fn exported(path: &Path, incident: IncidentId) -> String {
    let mut bytes = Vec::new();
    export_from(path, incident, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The events of an export, without the header, which names the program's version.
fn events(export: &str) -> Vec<&str> {
    export.lines().skip(1).collect()
}

#[test]
fn a_log_of_version_0_1_verifies_with_its_tombstone() {
    let directory = tempfile::tempdir().unwrap();
    let report = verify(&copied(directory.path())).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let found: Vec<IncidentId> = report.incidents.iter().map(|it| it.incident).collect();
    assert_eq!(found, [CLOSED, OPEN]);
    assert_eq!(report.removed[0].incident, REMOVED);
}

#[tokio::test]
async fn a_log_of_version_0_1_replays_to_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = copied(directory.path());
    assert_eq!(events(&exported(&path, CLOSED)), events(EXPORT));
    let log = Log::open(Options::at(&path));
    assert_eq!(log.degraded(), None);
    let mut frames = Frames::new(log.attach(CLOSED, 0).unwrap());
    let sent = frames.until(|frame| frame.event == "caught-up").await;
    let data: Vec<&str> = sent.iter().map(|frame| frame.data.as_str()).collect();
    assert_eq!(data[..data.len() - 1], events(EXPORT));
}

#[tokio::test]
async fn every_event_of_version_0_1_is_read_as_a_type_and_written_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(Options::at(copied(directory.path())));
    let read = log.events(CLOSED, 0, 10_000).await.unwrap();
    let kinds: BTreeSet<&str> = read.iter().map(|event| event.body.kind()).collect();
    assert_eq!(kinds.len(), 23, "{kinds:?}");
    for (event, line) in read.iter().zip(events(EXPORT)) {
        let stored: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut again = serde_json::to_value(event).unwrap();
        if let EventBody::VerbFinished {
            verdict: Some(Verdict::HaManaged),
            ..
        } = event.body
        {
            // Earlier gates had other words for it.
            again["verdict"] = stored["verdict"].clone();
        }
        assert_eq!(again, stored);
    }
}

#[tokio::test]
async fn a_log_of_version_0_1_is_recovered_and_appended_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = copied(directory.path());
    let log = Log::open(Options::at(&path));
    let recovered = log.recover().await.unwrap();
    assert_eq!((recovered.turns, recovered.verbs), (1, 1));
    append(&log, OPEN, 2).await;
    assert_eq!(
        log.remember("key", "other").await.unwrap(),
        Some("value".to_owned())
    );
    let tombstone = log.tombstone(REMOVED).await.unwrap().unwrap();
    assert_eq!(tombstone.events, 3);
    log.shutdown();
    let report = verify(&path).unwrap();
    assert!(report.is_sound(), "{report:?}");
    // 4 of version 0.1; the verb's, the command's and the turn's end; 2 more.
    assert_eq!(report.incidents[1].events, 9);
}

#[test]
fn an_export_of_version_0_1_is_verified_and_imported() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("incident.jsonl");
    std::fs::write(&file, EXPORT).unwrap();
    assert_eq!(verify_export(&file).unwrap().fault, None);
    let log = directory.path().join("other.db");
    assert!(import(&file, &log).unwrap().new);
    assert_eq!(events(&exported(&log, CLOSED)), events(EXPORT));
}

#[tokio::test]
async fn an_unknown_word_is_an_error_that_names_the_event() {
    let directory = tempfile::tempdir().unwrap();
    let path = copied(directory.path());
    let newer =
        "UPDATE event SET json = replace(json, '\"verb\":\"cycle\"', '\"verb\":\"suspend\"')";
    Connection::open(&path).unwrap().execute(newer, []).unwrap();
    let log = Log::open(Options::at(&path));
    let error = log.events(CLOSED, 0, 10_000).await.unwrap_err();
    assert!(matches!(error, LogError::Unreadable { .. }), "{error:?}");
    let sentence = error.to_string();
    assert!(
        sentence.contains(
            "(verb_started) cannot be read by this version of breakglass: unknown verb \"suspend\""
        ),
        "{sentence}"
    );
    // Replay, export and everything else that needs no type still work.
    let mut frames = Frames::new(log.attach(CLOSED, 0).unwrap());
    let sent = frames.until(|frame| frame.event == "caught-up").await;
    assert_eq!(sent.len(), events(EXPORT).len() + 1);
    append(&log, OPEN, 1).await;
}

#[test]
fn a_time_that_is_none_is_refused() {
    let line = events(EXPORT)[0];
    let event: Event = serde_json::from_str(line).unwrap();
    let wrong = line.replace(&event.at.to_string(), "yesterday");
    let refused = serde_json::from_str::<Event>(&wrong).unwrap_err();
    assert!(refused.to_string().contains("\"yesterday\" is not a time"));
}
